//! Layer 2, edge: elements of messages as bytes, and what can be computed with them.

pub mod operator;

/// Plain old data: what a message can be made of.
///
/// Every type that is [`bytemuck::Pod`] and may be used from any thread is one: numbers, arrays of
/// them, and structures that derive `bytemuck::Pod`. Everything else can be sent as an object.
pub trait Pod: bytemuck::Pod + Send + Sync {}

impl<T: bytemuck::Pod + Send + Sync> Pod for T {}

/// What a receiver checks to know that it gets the elements it asked for: a hash of the type's name,
/// size and alignment, the same in every build of one version of a program's source.
pub fn fingerprint<T: 'static>() -> u64 {
    let size = (size_of::<T>() as u64) << 32 | align_of::<T>() as u64;
    xxhash_rust::xxh3::xxh3_64_with_seed(std::any::type_name::<T>().as_bytes(), size)
}

/// The fingerprint of object messages: postcard bytes, whatever the type.
pub const OBJECT: u64 = 0x6f62_6a65_6374_2121;

/// Elements that own their memory, with their type forgotten: the buffer of a nonblocking operation.
pub trait OwnedElements: Send + std::any::Any {
    /// Their bytes.
    fn bytes(&self) -> &[u8];
    /// Their bytes, to be written.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Makes room for exactly `bytes` bytes of zeros; `false` when there is no memory or `bytes` is
    /// not a multiple of the element size.
    fn resize(&mut self, bytes: usize) -> bool;
    /// To get the elements back.
    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any + Send>;
}

impl<T: Pod> OwnedElements for Vec<T> {
    fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(self)
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(self)
    }

    fn resize(&mut self, bytes: usize) -> bool {
        let size = size_of::<T>().max(1);
        let count = bytes / size;
        if bytes % size != 0 {
            return false;
        }
        if self.capacity() < count {
            let Ok(fresh) = bytemuck::allocation::try_zeroed_vec(count) else {
                return false;
            };
            *self = fresh;
        } else {
            self.resize(count, T::zeroed());
        }
        true
    }

    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any + Send> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_one_size_have_different_fingerprints() {
        let all = [
            fingerprint::<u64>(),
            fingerprint::<i64>(),
            fingerprint::<f64>(),
            fingerprint::<[u32; 2]>(),
            fingerprint::<u8>(),
            OBJECT,
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[index + 1..].contains(one));
        }
    }

    #[test]
    fn a_vector_grows_to_whole_elements_only() {
        let mut elements: Vec<u32> = Vec::new();
        assert!(OwnedElements::resize(&mut elements, 12));
        assert_eq!(elements, [0, 0, 0]);
        assert!(!OwnedElements::resize(&mut elements, 13));
        assert!(!OwnedElements::resize(&mut elements, usize::MAX / 8 * 4));
    }
}
