//! Reduction operators.
//!
//! An operator must be associative up to rounding. The result of a reduction does not depend on timing:
//! the same ranks with the same algorithm combine in the same order, so the same bits come out, on
//! every rank.

use std::fmt;
use std::marker::PhantomData;

use bytemuck::Zeroable;

use super::Pod;
use crate::base::words::SharedBytes;
use crate::schedule::Order;

/// How two elements become one.
pub trait Operator<T>: Send + Sync + 'static {
    /// Whether `a op b` equals `b op a`: more and faster algorithms may then be used.
    fn commutative(&self) -> bool {
        true
    }

    /// Its name: all ranks must name the same one.
    fn name(&self) -> &'static str;

    /// `left op right`.
    fn combine(&self, left: T, right: T) -> T;
}

macro_rules! operators {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name;
    )*};
}

operators! {
    /// `a + b`; integers wrap around.
    #[doc(alias = "MPI_SUM")]
    Sum,
    /// `a * b`; integers wrap around.
    #[doc(alias = "MPI_PROD")]
    Product,
    /// The smaller one; of floating-point numbers, the one that is a number.
    #[doc(alias = "MPI_MIN")]
    Min,
    /// The larger one; of floating-point numbers, the one that is a number.
    #[doc(alias = "MPI_MAX")]
    Max,
    /// The smaller value with its index; the smaller index when values are equal.
    #[doc(alias = "MPI_MINLOC")]
    MinLoc,
    /// The larger value with its index; the smaller index when values are equal.
    #[doc(alias = "MPI_MAXLOC")]
    MaxLoc,
    /// 1 if both are not 0, else 0.
    #[doc(alias = "MPI_LAND")]
    LogicalAnd,
    /// 1 if one is not 0, else 0.
    #[doc(alias = "MPI_LOR")]
    LogicalOr,
    /// 1 if exactly one is not 0, else 0.
    #[doc(alias = "MPI_LXOR")]
    LogicalXor,
    /// `a & b`.
    #[doc(alias = "MPI_BAND")]
    BitAnd,
    /// `a | b`.
    #[doc(alias = "MPI_BOR")]
    BitOr,
    /// `a ^ b`.
    #[doc(alias = "MPI_BXOR")]
    BitXor,
}

macro_rules! combine {
    ($operator:ident, $name:literal, $type:ty, |$a:ident, $b:ident| $body:expr) => {
        impl Operator<$type> for $operator {
            fn name(&self) -> &'static str {
                $name
            }

            #[inline]
            fn combine(&self, $a: $type, $b: $type) -> $type {
                $body
            }
        }
    };
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        combine!(Sum, "sum", $type, |a, b| a.wrapping_add(b));
        combine!(Product, "product", $type, |a, b| a.wrapping_mul(b));
        combine!(Min, "min", $type, |a, b| a.min(b));
        combine!(Max, "max", $type, |a, b| a.max(b));
        combine!(LogicalAnd, "land", $type, |a, b| <$type>::from(a != 0 && b != 0));
        combine!(LogicalOr, "lor", $type, |a, b| <$type>::from(a != 0 || b != 0));
        combine!(LogicalXor, "lxor", $type, |a, b| <$type>::from((a != 0) != (b != 0)));
        combine!(BitAnd, "band", $type, |a, b| a & b);
        combine!(BitOr, "bor", $type, |a, b| a | b);
        combine!(BitXor, "bxor", $type, |a, b| a ^ b);
    )*};
}

macro_rules! floats {
    ($($type:ty)*) => {$(
        combine!(Sum, "sum", $type, |a, b| a + b);
        combine!(Product, "product", $type, |a, b| a * b);
        combine!(Min, "min", $type, |a, b| a.min(b));
        combine!(Max, "max", $type, |a, b| a.max(b));
    )*};
}

integers! { u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize }
floats! { f32 f64 }

/// A value and where it is, for [`MinLoc`] and [`MaxLoc`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its index: a rank, or whatever the program counts.
    pub index: u64,
}

macro_rules! located {
    ($($type:ty)*) => {$(
        // SAFETY: all-zero bytes are a value of both fields.
        unsafe impl Zeroable for Located<$type> {}
        // SAFETY: two 8-byte fields with any bit pattern, `repr(C)`: no padding, no invalid bytes.
        unsafe impl bytemuck::Pod for Located<$type> {}

        const _: () = assert!(size_of::<Located<$type>>() == 16);

        combine!(MinLoc, "minloc", Located<$type>, |a, b| {
            if a.value < b.value || (a.value == b.value && a.index <= b.index) { a } else { b }
        });
        combine!(MaxLoc, "maxloc", Located<$type>, |a, b| {
            if a.value > b.value || (a.value == b.value && a.index <= b.index) { a } else { b }
        });
    )*};
}

located! { f64 i64 u64 }

/// A function of the program as an operator; see [`commutative`] and [`ordered`].
#[derive(Clone, Copy)]
pub struct Function<F> {
    function: F,
    commutative: bool,
}

impl<F> fmt::Debug for Function<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("commutative", &self.commutative)
            .finish_non_exhaustive()
    }
}

/// A function as an operator, for which `f(a, b)` equals `f(b, a)`.
///
/// # Examples
///
/// ```
/// # fn main() -> phalanx::Result<()> {
/// let hypot = phalanx::commutative(|a: f64, b: f64| a.hypot(b));
/// let norms = phalanx::threads(3, move |world| world.allreduce(2.0, hypot))?;
/// assert!((norms[0] - 12_f64.sqrt()).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
pub const fn commutative<F>(function: F) -> Function<F> {
    Function {
        function,
        commutative: true,
    }
}

/// A function as an operator whose operands stay in the order of the ranks.
pub const fn ordered<F>(function: F) -> Function<F> {
    Function {
        function,
        commutative: false,
    }
}

impl<T, F> Operator<T> for Function<F>
where
    F: Fn(T, T) -> T + Send + Sync + 'static,
{
    fn commutative(&self) -> bool {
        self.commutative
    }

    fn name(&self) -> &'static str {
        if self.commutative {
            "commutative function"
        } else {
            "ordered function"
        }
    }

    fn combine(&self, left: T, right: T) -> T {
        (self.function)(left, right)
    }
}

/// An operator with its element type forgotten: it works on bytes that hold aligned elements.
pub trait Reducer: Send + Sync {
    /// Replaces `into` by the combination of `into` and `from`, element by element.
    fn reduce(&self, into: &mut [u8], from: &[u8], order: Order);

    /// The same in memory that others can write, with `into` on the left: without a copy of it, which would take as long as
    /// the addition itself.
    ///
    /// # Panics
    ///
    /// When the lengths differ.
    fn reduce_shared(&self, into: SharedBytes<'_>, from: &[u8]);
}

/// An operator for bytes that hold elements of one type.
pub const fn reducer<T: Pod, O: Operator<T>>(operator: O) -> Typed<T, O> {
    Typed {
        operator,
        element: PhantomData,
    }
}

/// See [`reducer`].
#[derive(Debug)]
pub struct Typed<T, O> {
    operator: O,
    element: PhantomData<fn(T) -> T>,
}

impl<T: Pod, O: Operator<T>> Reducer for Typed<T, O> {
    fn reduce(&self, into: &mut [u8], from: &[u8], order: Order) {
        let into: &mut [T] = bytemuck::cast_slice_mut(into);
        let from: &[T] = bytemuck::cast_slice(from);
        match order {
            Order::IntoFrom => {
                for (into, from) in into.iter_mut().zip(from) {
                    *into = self.operator.combine(*into, *from);
                }
            }
            Order::FromInto => {
                for (into, from) in into.iter_mut().zip(from) {
                    *into = self.operator.combine(*from, *into);
                }
            }
        }
    }

    fn reduce_shared(&self, into: SharedBytes<'_>, from: &[u8]) {
        assert_eq!(into.length(), from.len(), "as many elements");
        let from: &[T] = bytemuck::cast_slice(from);
        let base = into.base().cast::<T>();
        for (index, right) in from.iter().enumerate() {
            // SAFETY: there are as many elements as in `from`, by the assertion.
            let place = unsafe { base.add(index) };
            // SAFETY: valid for reads, aligned or not. Only this rank writes there as long as all keep the rules; if one does not,
            // these are other bytes, and any are an element.
            let left = unsafe { place.read_unaligned() };
            let value = self.operator.combine(left, *right);
            // SAFETY: valid for writes, and no reference covers it.
            unsafe { place.write_unaligned(value) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::words::{HeapWords, Words};

    #[test]
    fn integers_wrap_and_ties_take_the_smaller_index() {
        assert_eq!(Sum.combine(250_u8, 10), 4);
        let one = Located {
            value: 1.0,
            index: 3,
        };
        let other = Located {
            value: 1.0,
            index: 2,
        };
        assert_eq!(MinLoc.combine(one, other).index, 2);
        assert_eq!(MaxLoc.combine(one, other).index, 2);
    }

    #[test]
    fn the_order_of_the_operands_is_kept() {
        let digits = ordered(|a: u64, b: u64| a * 10 + b);
        let reducer = reducer::<u64, _>(digits);
        let mut into = [1_u64];
        reducer.reduce(
            bytemuck::bytes_of_mut(&mut into),
            bytemuck::bytes_of(&2_u64),
            Order::IntoFrom,
        );
        assert_eq!(into, [12]);
        reducer.reduce(
            bytemuck::bytes_of_mut(&mut into),
            bytemuck::bytes_of(&3_u64),
            Order::FromInto,
        );
        assert_eq!(into, [42]);
    }

    #[test]
    fn shared_memory_stays_on_the_left_wherever_it_lies() {
        let reducer = reducer::<u64, _>(ordered(|a: u64, b: u64| a * 10 + b));
        let memory = HeapWords::new(64);
        // Aligned and not, and what lies around it stays as it is.
        for at in [8, 4, 13] {
            memory.write(0, &[0xee; 64]);
            memory.write(at, bytemuck::bytes_of(&[1_u64, 2, 3]));
            let from = [4_u64, 5, 6];
            reducer.reduce_shared(SharedBytes::of(&memory, at, 24), bytemuck::bytes_of(&from));
            let (mut sums, mut around) = ([0_u64; 3], [0; 64]);
            memory.read(at, bytemuck::bytes_of_mut(&mut sums));
            memory.read(0, &mut around);
            assert_eq!(sums, [14, 25, 36], "from byte {at} on");
            let changed = around.iter().filter(|byte| **byte != 0xee).count();
            assert_eq!(changed, 24, "from byte {at} on");
        }
    }

    #[test]
    #[should_panic(expected = "as many elements")]
    fn shared_memory_has_to_be_as_long() {
        let memory = HeapWords::new(64);
        reducer::<u64, _>(Sum).reduce_shared(SharedBytes::of(&memory, 0, 16), &[0; 24]);
    }
}
