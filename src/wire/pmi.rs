//! The Process Management Interface, versions 1 and 2, as far as ranks need it to find each other.
//!
//! A process manager (Hydra's `mpiexec`, `srun --mpi=pmi2`) gives each process a socket, over which it
//! may put values into a space that all processes read after a barrier. Version 1 writes lines of
//! `name=value` words; version 2 writes six digits of length and then `name=value;`. Both begin with a
//! line of version 1. Facts: the PMI documents of MPICH and Slurm's `mpi/pmi2` plugin.

/// Longest answer that is read.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
const LENGTH_DIGITS: usize = 6;

/// Which version is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// PMI-1.
    One,
    /// PMI-2.
    Two,
}

/// What is asked of the process manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// The first line, which names the version.
    Init,
    /// Version 2 only: who asks.
    FullInit {
        /// Name of the job, which is also that of the space.
        job: &'a str,
        /// World rank.
        rank: u32,
    },
    /// The name of the space.
    SpaceName,
    /// Puts a value.
    Put {
        /// Name of the space.
        space: &'a str,
        /// Name of the value.
        key: &'a str,
        /// Without spaces, semicolons and line feeds.
        value: &'a str,
    },
    /// Waits for all processes; what they put can be read afterwards.
    Fence,
    /// Reads a value.
    Get {
        /// Name of the space.
        space: &'a str,
        /// Name of the value.
        key: &'a str,
    },
    /// Nothing more will be asked.
    Finalize,
}

/// Why an answer is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PmiError {
    /// Longer than allowed.
    #[error("an answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// Not of the form.
    #[error("an answer makes no sense: {0}")]
    Malformed(String),
    /// The manager refused.
    #[error("the answer to {asked} was {answer}")]
    Refused {
        /// Command.
        asked: &'static str,
        /// Everything that was answered.
        answer: String,
    },
}

impl Request<'_> {
    /// The bytes to send.
    pub fn encode(&self, dialect: Dialect) -> Vec<u8> {
        match dialect {
            Dialect::One => (self.words(" ") + "\n").into_bytes(),
            Dialect::Two if *self == Request::Init => {
                b"cmd=init pmi_version=2 pmi_subversion=0\n".to_vec()
            }
            Dialect::Two => {
                let words = self.words_of_two();
                format!("{:6}{words}", words.len()).into_bytes()
            }
        }
    }

    fn words(&self, gap: &str) -> String {
        match self {
            Request::Init => "cmd=init pmi_version=1 pmi_subversion=1".into(),
            Request::FullInit { rank, .. } => format!("cmd=initack{gap}pmiid={rank}"),
            Request::SpaceName => "cmd=get_my_kvsname".into(),
            Request::Put { space, key, value } => {
                format!("cmd=put{gap}kvsname={space}{gap}key={key}{gap}value={value}")
            }
            Request::Fence => "cmd=barrier_in".into(),
            Request::Get { space, key } => format!("cmd=get{gap}kvsname={space}{gap}key={key}"),
            Request::Finalize => "cmd=finalize".into(),
        }
    }

    fn words_of_two(&self) -> String {
        match self {
            Request::Init | Request::SpaceName => "cmd=info-getjobattr;key=jobid;".into(),
            Request::FullInit { job, rank } => {
                format!("cmd=fullinit;pmijobid={job};pmirank={rank};threaded=FALSE;")
            }
            Request::Put { key, value, .. } => format!("cmd=kvs-put;key={key};value={value};"),
            Request::Fence => "cmd=kvs-fence;".into(),
            Request::Get { space, key } => {
                format!("cmd=kvs-get;jobid={space};srcid=-1;key={key};")
            }
            Request::Finalize => "cmd=finalize;".into(),
        }
    }

    /// The command that an answer to this must name.
    pub const fn answered_by(&self, dialect: Dialect) -> &'static str {
        match (self, dialect) {
            (Request::Init, _) => "response_to_init",
            (Request::FullInit { .. }, Dialect::Two) => "fullinit-response",
            (Request::FullInit { .. }, Dialect::One) => "initack",
            (Request::SpaceName, Dialect::One) => "my_kvsname",
            (Request::SpaceName, Dialect::Two) => "info-getjobattr-response",
            (Request::Put { .. }, Dialect::One) => "put_result",
            (Request::Put { .. }, Dialect::Two) => "kvs-put-response",
            (Request::Fence, Dialect::One) => "barrier_out",
            (Request::Fence, Dialect::Two) => "kvs-fence-response",
            (Request::Get { .. }, Dialect::One) => "get_result",
            (Request::Get { .. }, Dialect::Two) => "kvs-get-response",
            (Request::Finalize, Dialect::One) => "finalize_ack",
            (Request::Finalize, Dialect::Two) => "finalize-response",
        }
    }
}

/// The words of one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer(Vec<(String, String)>);

impl Answer {
    /// The first whole answer in `bytes`, and how many bytes it has.
    ///
    /// # Errors
    ///
    /// When the bytes cannot become an answer.
    pub fn decode(bytes: &[u8], framed: bool) -> Result<Option<(Self, usize)>, PmiError> {
        let malformed = |bytes: &[u8]| {
            let shown = &bytes[..bytes.len().min(80)];
            PmiError::Malformed(String::from_utf8_lossy(shown).escape_debug().to_string())
        };
        let (body, total, gap) = if framed {
            let Some(digits) = bytes.get(..LENGTH_DIGITS) else {
                return Ok(None);
            };
            let length = std::str::from_utf8(digits).ok();
            let length = length.and_then(|text| text.trim().parse::<usize>().ok());
            let length = length.ok_or_else(|| malformed(bytes))?;
            if length > ANSWER_BYTES_MAX {
                return Err(PmiError::TooLong);
            }
            match bytes.get(LENGTH_DIGITS..LENGTH_DIGITS + length) {
                Some(body) => (body, LENGTH_DIGITS + length, ';'),
                None => return Ok(None),
            }
        } else {
            match bytes.iter().position(|&byte| byte == b'\n') {
                Some(end) => (&bytes[..end], end + 1, ' '),
                None if bytes.len() > ANSWER_BYTES_MAX => return Err(PmiError::TooLong),
                None => return Ok(None),
            }
        };
        let text = std::str::from_utf8(body).map_err(|_| malformed(body))?;
        let words = text.split(gap).filter_map(|word| word.split_once('='));
        let words: Vec<_> = words
            .map(|(name, value)| (name.trim().to_owned(), value.trim_end().to_owned()))
            .collect();
        if words.first().is_none_or(|(name, _)| name != "cmd") {
            return Err(malformed(body));
        }
        Ok(Some((Self(words), total)))
    }

    /// The value of a word.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether this answers the request, and grants it.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn check(&self, request: &Request<'_>, dialect: Dialect) -> Result<(), PmiError> {
        let asked = request.answered_by(dialect);
        let granted = matches!(self.get("rc"), None | Some("0"))
            && !matches!(
                self.get("found").or_else(|| self.get("flag")),
                Some("FALSE")
            );
        if self.get("cmd") == Some(asked) && granted {
            return Ok(());
        }
        let words = self.0.iter();
        let words = words.filter(|(name, _)| name != "value");
        let words: Vec<_> = words.map(|(a, b)| format!("{a}={b}")).collect();
        let answer = words.join(" ");
        Err(PmiError::Refused { asked, answer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_dialects_have_their_form() {
        let get = Request::Get {
            space: "kvs_7",
            key: "door",
        };
        assert_eq!(
            get.encode(Dialect::One),
            b"cmd=get kvsname=kvs_7 key=door\n"
        );
        assert_eq!(
            get.encode(Dialect::Two),
            b"    42cmd=kvs-get;jobid=kvs_7;srcid=-1;key=door;"
        );
        let one = b"cmd=get_result rc=0 msg=success value=10.0.0.1:9,a=b\nrest";
        let (answer, taken) = Answer::decode(one, false).expect("sound").expect("whole");
        assert_eq!(&one[taken..], b"rest");
        assert_eq!(answer.get("value"), Some("10.0.0.1:9,a=b"));
        assert_eq!(answer.check(&get, Dialect::One), Ok(()));
        let two = b"    44cmd=kvs-get-response;flag=FALSE;value=;rc=0;;";
        let (answer, _) = Answer::decode(two, true).expect("sound").expect("whole");
        assert!(answer.check(&get, Dialect::Two).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), framed: bool) {
            if let Ok(Some((_, taken))) = Answer::decode(&bytes, framed) {
                prop_assert!(taken <= bytes.len());
            }
        }
    }
}
