//! The buffer table: the one place where the runtime turns numbers into memory.
//!
//! # Roles
//!
//! The engine and the transports name memory by [`BufferId`]. An entry is either *owned* (a vector
//! moved in by a nonblocking operation and moved out by its `wait`) or *borrowed* (a slice of the
//! caller, given as pointer and length).
//!
//! # Why it is sound
//!
//! * The table is only reached through the runtime's lock, so no two threads use an entry at once.
//! * A borrowed entry is put in by an unsafe call, whose caller promises to take it out before the
//!   borrow ends. The runtime does that in one place each for blocking calls and for scopes, by a
//!   guard that also runs when the stack unwinds.
//! * After an entry is taken out its number finds nothing: slots carry generations. Whatever still
//!   arrives for it is discarded, and a transport that asks for its bytes gets none.
//! * A view names a part of another entry and shares its pointer; it must be taken out first, which
//!   the same guards see to. References handed out borrow the table, so no entry can be taken out
//!   meanwhile.

mod exposed;

pub(crate) use exposed::{Exposed, Exposures};

use std::ptr::NonNull;

use slotmap::{Key, KeyData, SlotMap, new_key_type};

use crate::engine::BufferId;
use crate::pod::OwnedElements;
use crate::pod::operator::Reducer;
use crate::schedule::Order;

new_key_type! {
    struct Slot;
}

struct Entry {
    pointer: NonNull<u8>,
    length: usize,
    write: bool,
    /// What the pointer points into, when the table owns it. Only touched to resize it or to give it
    /// back; the bytes are always reached through the pointer, so that views stay valid.
    owner: Option<Box<dyn OwnedElements>>,
}

// SAFETY: an entry is memory that may be used from any thread: plain bytes whose owner promised,
// through the unsafe constructors, that only this table touches them while the entry exists.
unsafe impl Send for Entry {}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match (&self.owner, self.write) {
            (Some(_), _) => "Owned",
            (None, true) => "Write",
            (None, false) => "Read",
        };
        write!(f, "{kind}({})", self.length)
    }
}

impl Entry {
    fn owned(mut owner: Box<dyn OwnedElements>) -> Self {
        let bytes = owner.bytes_mut();
        let (length, pointer) = (bytes.len(), NonNull::from(bytes).cast());
        Self {
            pointer,
            length,
            write: true,
            owner: Some(owner),
        }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: whoever put the entry in promised that the memory is valid while it is here, or the
        // entry owns it; nothing else writes it, and the result borrows the entry.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.length) }
    }

    fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        if !self.write {
            return None;
        }
        // SAFETY: as for `bytes`, and the memory is ours alone; the result borrows the entry mutably.
        Some(unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.length) })
    }
}

/// Numbers to memory.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    entries: SlotMap<Slot, Entry>,
}

fn slot(id: BufferId) -> Slot {
    Slot::from(KeyData::from_ffi(id.0))
}

impl Buffers {
    /// Puts in a slice that is only read.
    ///
    /// # Safety
    ///
    /// The entry is taken out before the slice's borrow ends.
    pub(crate) unsafe fn lend(&mut self, bytes: &[u8]) -> BufferId {
        let (length, pointer) = (bytes.len(), NonNull::from(bytes).cast());
        self.insert(Entry {
            pointer,
            length,
            write: false,
            owner: None,
        })
    }

    /// Puts in a slice that is written and read.
    ///
    /// # Safety
    ///
    /// The entry is taken out before the slice's borrow ends.
    pub(crate) unsafe fn lend_mut(&mut self, bytes: &mut [u8]) -> BufferId {
        let (length, pointer) = (bytes.len(), NonNull::from(bytes).cast());
        self.insert(Entry {
            pointer,
            length,
            write: true,
            owner: None,
        })
    }

    /// Puts in elements to keep until they are taken out.
    pub(crate) fn own(&mut self, elements: Box<dyn OwnedElements>) -> BufferId {
        self.insert(Entry::owned(elements))
    }

    /// Puts in a part of another entry under a name of its own.
    ///
    /// # Safety
    ///
    /// The view is taken out before the entry, and the entry is not resized meanwhile.
    pub(crate) unsafe fn view(
        &mut self,
        of: BufferId,
        offset: usize,
        length: usize,
    ) -> Option<BufferId> {
        let entry = self.entries.get(slot(of))?;
        let end = offset.checked_add(length)?;
        if end > entry.length {
            return None;
        }
        // SAFETY: `offset` is within the memory of the entry, or just at its end.
        let pointer = unsafe { entry.pointer.add(offset) };
        let write = entry.write;
        Some(self.insert(Entry {
            pointer,
            length,
            write,
            owner: None,
        }))
    }

    /// Takes an entry out; its owned elements come back.
    pub(crate) fn take(&mut self, id: BufferId) -> Option<Box<dyn OwnedElements>> {
        self.entries.remove(slot(id))?.owner
    }

    /// The bytes of an entry.
    pub(crate) fn bytes(&self, id: BufferId) -> Option<&[u8]> {
        Some(self.entries.get(slot(id))?.bytes())
    }

    /// The bytes of an entry that may be written.
    pub(crate) fn bytes_mut(&mut self, id: BufferId) -> Option<&mut [u8]> {
        self.entries.get_mut(slot(id))?.bytes_mut()
    }

    /// The bytes of two different entries that may be written.
    pub(crate) fn both_mut(&mut self, ids: [BufferId; 2]) -> Option<[&mut [u8]; 2]> {
        let [one, other] = self.entries.get_disjoint_mut(ids.map(slot))?;
        Some([one.bytes_mut()?, other.bytes_mut()?])
    }

    /// The bytes of one entry to read, of another one to write.
    pub(crate) fn beside(
        &mut self,
        read: BufferId,
        written: BufferId,
    ) -> Option<(&[u8], &mut [u8])> {
        let [one, other] = self.entries.get_disjoint_mut([read, written].map(slot))?;
        Some((one.bytes(), other.bytes_mut()?))
    }

    /// Gives an owned entry exactly `length` bytes; `false` when that cannot be.
    pub(crate) fn resize(&mut self, id: BufferId, length: usize) -> bool {
        let Some(entry) = self.entries.get_mut(slot(id)) else {
            return false;
        };
        if entry.length == length {
            return true;
        }
        let Some(mut owner) = entry.owner.take() else {
            return false;
        };
        let resized = owner.resize(length);
        *entry = Entry::owned(owner);
        resized
    }

    /// Combines a part of one entry into a part of the same or another entry. `false` when a part is
    /// out of bounds or the parts overlap.
    pub(crate) fn combine(
        &mut self,
        from: (BufferId, usize),
        into: (BufferId, usize),
        length: usize,
        apply: impl FnOnce(&mut [u8], &[u8]),
    ) -> bool {
        if from.0 == into.0 {
            let Some(bytes) = self.bytes_mut(from.0) else {
                return false;
            };
            return combine_within(bytes, from.1, into.1, length, apply);
        }
        let Some([one, other]) = self.entries.get_disjoint_mut([slot(from.0), slot(into.0)]) else {
            return false;
        };
        let Some(source) = one.bytes().get(from.1..from.1 + length) else {
            return false;
        };
        let target = other
            .bytes_mut()
            .and_then(|bytes| bytes.get_mut(into.1..into.1 + length));
        let Some(target) = target else { return false };
        apply(target, source);
        true
    }

    /// As [`combine`](Self::combine), by an operator.
    pub(crate) fn reduce(
        &mut self,
        reducer: &dyn Reducer,
        from: (BufferId, usize),
        into: (BufferId, usize),
        length: usize,
        order: Order,
    ) -> bool {
        self.combine(from, into, length, |into, from| {
            reducer.reduce(into, from, order)
        })
    }

    /// Bytes of an entry, untied from the table: for a transport that calls back while it reads them,
    /// and for ranks of the same process.
    pub(crate) fn pinned(&self, id: BufferId, offset: usize, length: usize) -> Option<Pinned> {
        let bytes = self.bytes(id)?.get(offset..offset + length)?;
        Some(Pinned {
            pointer: NonNull::from(bytes).cast(),
            length,
        })
    }

    fn insert(&mut self, entry: Entry) -> BufferId {
        BufferId(self.entries.insert(entry).data().as_ffi())
    }
}

fn combine_within(
    bytes: &mut [u8],
    from: usize,
    into: usize,
    length: usize,
    apply: impl FnOnce(&mut [u8], &[u8]),
) -> bool {
    let end = from.max(into) + length;
    if end > bytes.len() || from.abs_diff(into) < length {
        return false;
    }
    if length == 0 {
        return true;
    }
    let (low, high) = bytes.split_at_mut(from.max(into));
    if from < into {
        apply(&mut high[..length], &low[from..from + length]);
    } else {
        apply(&mut low[into..into + length], &high[..length]);
    }
    true
}

/// Bytes of an entry, no longer tied to the table by a lifetime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pinned {
    pointer: NonNull<u8>,
    length: usize,
}

impl Pinned {
    /// Where the bytes are, for another process that the kernel may let read them.
    pub(crate) fn address(self) -> u64 {
        self.pointer.as_ptr() as u64
    }

    /// The bytes.
    ///
    /// # Safety
    ///
    /// The entry is neither taken out, resized nor written while the result is used.
    pub(crate) unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: the pointer came from a slice of this length; the caller keeps it valid.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_finds_nothing_after_its_entry_was_taken_out() {
        let mut buffers = Buffers::default();
        let id = buffers.own(Box::new(vec![1_u8, 2, 3]));
        assert_eq!(buffers.bytes(id), Some(&[1_u8, 2, 3][..]));
        assert!(buffers.take(id).is_some());
        let other = buffers.own(Box::new(vec![9_u8]));
        assert_ne!(id, other);
        assert!(buffers.bytes(id).is_none());
        assert!(buffers.bytes_mut(id).is_none());
    }

    #[test]
    fn parts_are_combined_within_and_between_entries() {
        let mut buffers = Buffers::default();
        let mut bytes = [1_u8, 2, 3, 4];
        // SAFETY: taken out below, before `bytes` is used again.
        let lent = unsafe { buffers.lend_mut(&mut bytes) };
        let add = |into: &mut [u8], from: &[u8]| into[0] += from[0];
        assert!(buffers.combine((lent, 0), (lent, 3), 1, add));
        assert!(buffers.combine((lent, 3), (lent, 0), 1, add));
        assert!(
            !buffers.combine((lent, 0), (lent, 1), 2, add),
            "they overlap"
        );
        assert!(
            !buffers.combine((lent, 0), (lent, 4), 1, add),
            "out of bounds"
        );
        let owned = buffers.own(Box::new(vec![10_u8]));
        assert!(buffers.combine((owned, 0), (lent, 1), 1, add));
        buffers.take(lent);
        assert_eq!(bytes, [6, 12, 3, 5]);
    }

    #[test]
    fn a_read_only_entry_is_never_written() {
        let mut buffers = Buffers::default();
        let bytes = [1_u8; 4];
        // SAFETY: `bytes` outlives the table.
        let lent = unsafe { buffers.lend(&bytes) };
        assert!(buffers.bytes_mut(lent).is_none());
        assert!(!buffers.combine((lent, 0), (lent, 1), 1, |_, _| panic!("not to be called")));
    }
}
