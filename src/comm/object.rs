//! Messages that hold any value that serde can serialize.
//!
//! Objects travel as postcard. The bytes do not name the type: sender and receiver must agree on it, and
//! a receiver that decodes another type gets an error or, where the encodings happen to agree, that
//! type's reading of the bytes.

use std::panic::Location;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Call, Communicator, Source, Status, Tag};
use crate::engine::{Capacity, Mode};
use crate::error::{Error, ErrorKind, Result};
use crate::pod::OBJECT;
use crate::runtime::{RecvArgs, SendArgs};

impl Communicator {
    /// Sends a value to rank `dest`. Blocks as [`send`](Self::send) does.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send); a value that cannot be serialized.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> phalanx::Result<()> {
    /// phalanx::threads(2, |world| match world.rank() {
    ///     0 => world.send_obj(&("tolerance", 1e-9), 1, 0),
    ///     _ => {
    ///         let (name, value): (String, f64) = world.recv_obj(0, 0)?;
    ///         assert_eq!((name.as_str(), value), ("tolerance", 1e-9));
    ///         Ok(())
    ///     }
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn send_obj<V: Serialize + ?Sized>(
        &self,
        value: &V,
        dest: usize,
        tag: impl Into<Tag>,
    ) -> Result<()> {
        let call = Call::new("send_obj", Location::caller());
        let bytes = self.encode(&call, value)?;
        let mut args: SendArgs = self.send_args::<u8>(&call, dest, tag.into(), Mode::Standard)?;
        args.check = OBJECT;
        let sent = self.inner.runtime.send(args, &bytes, self.errand(&call));
        sent.map_err(|fault| self.error(&call.with(Some(dest), Some(args.tag)), fault, ""))
    }

    /// Receives a value. Blocks until it is there.
    ///
    /// # Errors
    ///
    /// As for [`recv_vec`](Self::recv_vec); a message that is not an object, or not of this type.
    #[track_caller]
    pub fn recv_obj<V: DeserializeOwned>(
        &self,
        source: impl Into<Source>,
        tag: impl Into<Tag>,
    ) -> Result<V> {
        let call = Call::new("recv_obj", Location::caller());
        self.receive_object(&call, source.into(), tag.into())
            .map(|(value, _)| value)
    }

    /// As [`recv_obj`](Self::recv_obj), and tells who sent it.
    ///
    /// # Errors
    ///
    /// As for [`recv_obj`](Self::recv_obj).
    #[track_caller]
    pub fn recv_obj_status<V: DeserializeOwned>(
        &self,
        source: impl Into<Source>,
        tag: impl Into<Tag>,
    ) -> Result<(V, Status)> {
        let call = Call::new("recv_obj_status", Location::caller());
        self.receive_object(&call, source.into(), tag.into())
    }

    /// Gives every rank the root's value. A collective; ranks other than the root give `None`.
    ///
    /// # Errors
    ///
    /// As for any collective; a value that does not serialize or deserialize; a root without a value.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> phalanx::Result<()> {
    /// let all = phalanx::threads(3, |world| {
    ///     let mine = (world.rank() == 1).then(|| vec!["a".to_owned(), "b".to_owned()]);
    ///     world.bcast_obj(mine, 1)
    /// })?;
    /// assert!(all.iter().all(|names| names.len() == 2));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn bcast_obj<V: Serialize + DeserializeOwned>(
        &self,
        value: Option<V>,
        root: usize,
    ) -> Result<V> {
        let call = Call::new("bcast_obj", Location::caller());
        let bytes = match (&value, self.rank() == root) {
            (Some(value), true) => self.encode(&call, value)?,
            (None, true) => {
                return Err(self.argument(&call, "the root has to give a value".into()));
            }
            _ => Vec::new(),
        };
        let bytes = self.bcast_bytes(&call, bytes, root)?;
        match value {
            Some(value) if self.rank() == root => Ok(value),
            _ => self.decode(&call, &bytes),
        }
    }

    fn receive_object<V: DeserializeOwned>(
        &self,
        call: &Call,
        source: Source,
        tag: Tag,
    ) -> Result<(V, Status)> {
        let pattern = self.pattern(call, source, tag)?;
        let args = RecvArgs {
            pattern,
            check: OBJECT,
            site: call.site,
        };
        let runtime = &self.inner.runtime;
        let key = runtime
            .start_recv(args, Box::new(Vec::<u8>::new()), Capacity::Growable)
            .map_err(|fault| self.recv_error::<u8>(call, &args, fault))?;
        let outcome = runtime.wait_request(key, self.errand(call));
        let back = runtime.take_request(key);
        let envelope = outcome.map_err(|fault| {
            let peer = pattern.source.and_then(|peer| self.inner.group.rank(peer));
            self.error(
                &call.with(peer, pattern.tag),
                fault,
                "an object: send it with send_obj",
            )
        })?;
        let bytes: Vec<u8> = self.elements(call, back)?;
        Ok((self.decode(call, &bytes)?, self.status::<u8>(&envelope)))
    }

    fn encode<V: Serialize + ?Sized>(&self, call: &Call, value: &V) -> Result<Vec<u8>> {
        postcard::to_stdvec(value).map_err(|error| {
            self.object_error(call, format!("the value cannot be serialized: {error}"))
        })
    }

    fn decode<V: DeserializeOwned>(&self, call: &Call, bytes: &[u8]) -> Result<V> {
        let name = std::any::type_name::<V>();
        match postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Ok(value),
            Ok((_, surplus)) => Err(self.object_error(
                call,
                format!("the message has {} bytes more than a {name}", surplus.len()),
            )),
            Err(error) => {
                Err(self.object_error(call, format!("the message is not a {name}: {error}")))
            }
        }
    }

    fn object_error(&self, call: &Call, reason: String) -> Error {
        Error::new(ErrorKind::Object { reason }, call.operation)
            .on(&self.inner.name)
            .at(call.site)
    }
}
