//! Named tensors of integers and real numbers, from which values of this crate are saved and loaded.
//!
//! Integers are stored in the smallest of I8, I16, I32 and I64 that holds all of a tensor's, real numbers as F64, so
//! that what is loaded equals what was saved. What is read may come from anywhere: every access checks type and shape,
//! and nothing is allocated by a number that is not the size of something read.

use crate::error::Error;
use crate::matrix::Matrix;
use crate::tensor::RawTensor;
use safetensors::Dtype;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Tensors by name. None has a dimension of size 0, so that no dimension is more than there are entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NamedTensors {
    tensors: BTreeMap<String, RawTensor>,
}

impl NamedTensors {
    /// Adds a tensor that was read.
    ///
    /// # Errors
    /// [`Error::Shape`] if a dimension is 0.
    pub(crate) fn insert(&mut self, name: &str, tensor: RawTensor) -> Result<(), Error> {
        if tensor.shape.contains(&0) {
            return Err(Error::shape(describe(name), "at least one entry", &tensor.shape));
        }
        self.tensors.insert(name.into(), tensor);
        Ok(())
    }

    /// The tensors, sorted by name.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&str, &RawTensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Sets a tensor of integers, the shape `[]` being that of one.
    pub(crate) fn set_integers(&mut self, name: &str, shape: &[usize], values: impl IntoIterator<Item = i64>) {
        let values: Vec<i64> = values.into_iter().collect();
        let (low, high) = values.iter().fold((0, 0), |(low, high), &x| (x.min(low), x.max(high)));
        let holds = |(_, bytes): &&(Dtype, usize)| {
            let unused = 64 - 8 * bytes;
            [low, high].iter().all(|&x| x << unused >> unused == x)
        };
        let &(dtype, size) = INTEGERS.iter().find(holds).expect("64 bits hold all");
        let bytes = values.iter().flat_map(|value| value.to_le_bytes().into_iter().take(size)).collect();
        self.tensors.insert(name.into(), RawTensor { dtype, shape: shape.to_vec(), bytes });
    }

    /// Sets a tensor of one integer.
    pub(crate) fn set_integer(&mut self, name: &str, value: i64) {
        self.set_integers(name, &[], [value]);
    }

    /// Sets a tensor of two dimensions.
    pub(crate) fn set_matrix(&mut self, name: &str, matrix: &Matrix<i32>) {
        self.set_integers(name, &[matrix.rows(), matrix.cols()], matrix.iter().map(|&entry| i64::from(entry)));
    }

    /// Sets a tensor of real numbers, the shape `[]` being that of one.
    pub(crate) fn set_reals(&mut self, name: &str, shape: &[usize], values: impl IntoIterator<Item = f64>) {
        let bytes = values.into_iter().flat_map(f64::to_le_bytes).collect();
        self.tensors.insert(name.into(), RawTensor { dtype: Dtype::F64, shape: shape.to_vec(), bytes });
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a tensor of N dimensions.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if it is missing, [`Error::Shape`] if it has another number of dimensions.
    pub(crate) fn shape<const N: usize>(&self, name: &str) -> Result<[usize; N], Error> {
        let shape = &self.get(name)?.shape;
        shape[..].try_into().map_err(|_| Error::shape(describe(name), format!("{N} dimensions"), shape))
    }

    /// The entries of a tensor of integers.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if it is missing, holds no integers or one that `T` does not hold; [`Error::Shape`].
    pub(crate) fn integers<T: TryFrom<i64>>(&self, name: &str, shape: &[usize]) -> Result<Vec<T>, Error> {
        let RawTensor { dtype, bytes, .. } = self.of_shape(name, shape)?;
        let Some(&(_, size)) = INTEGERS.iter().find(|(integer, _)| integer == dtype) else {
            return Err(Error::out_of_range(&describe(name), format!("of type {dtype}"), "of I8, I16, I32 or I64"));
        };
        let entry = |bytes: &[u8]| {
            let mut extended = [0; 8];
            extended[8 - size..].copy_from_slice(bytes);
            let value = i64::from_le_bytes(extended) >> (64 - 8 * size);
            let kind = std::any::type_name::<T>();
            T::try_from(value).map_err(|_| {
                Error::out_of_range(&format!("an entry of {}", describe(name)), value, format!("a {kind}"))
            })
        };
        bytes.chunks_exact(size).map(entry).collect()
    }

    /// The only entry of a tensor of integers.
    ///
    /// # Errors
    /// As [`Self::integers`].
    pub(crate) fn integer<T: TryFrom<i64>>(&self, name: &str) -> Result<T, Error> {
        Ok(self.integers(name, &[])?.remove(0))
    }

    /// A tensor of integers of two dimensions.
    ///
    /// # Errors
    /// As [`Self::shape`] and [`Self::integers`].
    pub(crate) fn matrix(&self, name: &str) -> Result<Matrix<i32>, Error> {
        let [rows, cols] = self.shape(name)?;
        Matrix::new(rows, cols, self.integers(name, &[rows, cols])?)
    }

    /// The entries of a tensor of real numbers.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if it is missing or not of F64; [`Error::Shape`]; [`Error::NotFinite`].
    pub(crate) fn reals(&self, name: &str, shape: &[usize]) -> Result<Vec<f64>, Error> {
        let RawTensor { dtype, bytes, .. } = self.of_shape(name, shape)?;
        if *dtype != Dtype::F64 {
            return Err(Error::out_of_range(&describe(name), format!("of type {dtype}"), "of F64"));
        }
        let values: Vec<f64> = bytes.as_chunks().0.iter().map(|&entry| f64::from_le_bytes(entry)).collect();
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(position) => Err(Error::NotFinite { what: describe(name), value: values[position], position }),
        }
    }

    /// As [`Self::reals`], where all have to be greater than 0.
    ///
    /// # Errors
    /// As [`Self::reals`], and [`Error::OutOfRange`].
    pub(crate) fn positive_reals(&self, name: &str, shape: &[usize]) -> Result<Vec<f64>, Error> {
        let values = self.reals(name, shape)?;
        match values.iter().find(|value| **value <= 0.0) {
            None => Ok(values),
            Some(value) => {
                Err(Error::out_of_range(&format!("an entry of {}", describe(name)), value, "greater than 0"))
            }
        }
    }

    /// The only entry of a tensor of real numbers, which has to be greater than 0.
    ///
    /// # Errors
    /// As [`Self::positive_reals`].
    pub(crate) fn positive_real(&self, name: &str) -> Result<f64, Error> {
        Ok(self.positive_reals(name, &[])?[0])
    }

    /// SHA-256 of all names, types, shapes and entries.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        // Lengths first, so that no two records are hashed alike.
        let number = |hash: &mut Sha256, value: usize| hash.update((value as u64).to_le_bytes());
        number(&mut hash, self.tensors.len());
        for (name, RawTensor { dtype, shape, bytes }) in &self.tensors {
            for text in [name, &dtype.to_string()] {
                number(&mut hash, text.len());
                hash.update(text);
            }
            number(&mut hash, shape.len());
            shape.iter().for_each(|&size| number(&mut hash, size));
            number(&mut hash, bytes.len());
            hash.update(bytes);
        }
        hash.finalize().into()
    }

    fn get(&self, name: &str) -> Result<&RawTensor, Error> {
        self.tensors.get(name).ok_or_else(|| Error::out_of_range(&describe(name), "missing", "there"))
    }

    fn of_shape(&self, name: &str, shape: &[usize]) -> Result<&RawTensor, Error> {
        let tensor = self.get(name)?;
        if tensor.shape == shape {
            return Ok(tensor);
        }
        Err(Error::shape(describe(name), format!("{shape:?}"), &tensor.shape))
    }
}

/// The types of integers, with the bytes of each.
const INTEGERS: [(Dtype, usize); 4] = [(Dtype::I8, 1), (Dtype::I16, 2), (Dtype::I32, 4), (Dtype::I64, 8)];

fn describe(name: &str) -> String {
    format!("tensor \"{name}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn integers(values: &[i64]) -> NamedTensors {
        let mut record = NamedTensors::default();
        record.set_integers("x", &[values.len()], values.iter().copied());
        record
    }

    #[test]
    fn the_smallest_type_is_taken() {
        for (value, dtype) in [
            (0, Dtype::I8),
            (-128, Dtype::I8),
            (128, Dtype::I16),
            (-32768, Dtype::I16),
            (32768, Dtype::I32),
            (i64::from(i32::MIN), Dtype::I32),
            (1 << 31, Dtype::I64),
            (i64::MIN, Dtype::I64),
        ] {
            assert_eq!(integers(&[1, value]).tensors["x"].dtype, dtype, "{value}");
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let mut record = integers(&[1, 300]);
        record.set_reals("y", &[2], [1.0, -2.0]);
        record.set_reals("z", &[], [f64::NAN]);
        assert!(matches!(record.integers::<i64>("x", &[3]), Err(Error::Shape { .. })));
        assert!(matches!(record.integers::<i8>("x", &[2]), Err(Error::OutOfRange { .. })));
        assert!(matches!(record.integers::<i64>("absent", &[2]), Err(Error::OutOfRange { .. })));
        assert!(matches!(record.integers::<i64>("y", &[2]), Err(Error::OutOfRange { .. })));
        assert!(matches!(record.reals("x", &[2]), Err(Error::OutOfRange { .. })));
        assert!(matches!(record.positive_reals("y", &[2]), Err(Error::OutOfRange { .. })));
        assert!(matches!(record.positive_real("z"), Err(Error::NotFinite { .. })));
        assert!(matches!(record.shape::<2>("x"), Err(Error::Shape { .. })));
        let empty = RawTensor { dtype: Dtype::I8, shape: vec![1 << 60, 0], bytes: Vec::new() };
        assert!(matches!(record.insert("x", empty), Err(Error::Shape { .. })));
    }

    #[test]
    fn digests_tell_records_apart() {
        let mut digests =
            vec![integers(&[1, 2]).digest(), integers(&[2, 1]).digest(), NamedTensors::default().digest()];
        let mut shaped = NamedTensors::default();
        shaped.set_integers("x", &[1, 2], [1, 2]);
        let mut named = NamedTensors::default();
        named.set_integers("y", &[2], [1, 2]);
        digests.extend([shaped.digest(), named.digest()]);
        for (index, digest) in digests.iter().enumerate() {
            assert!(!digests[..index].contains(digest), "{index}");
        }
        assert_eq!(integers(&[1, 2]).digest(), digests[0]);
    }

    proptest! {
        #[test]
        fn integers_are_kept(values in prop::collection::vec(any::<i64>(), 1..20), shift in 0_u32..64) {
            let values: Vec<i64> = values.iter().map(|value| value >> shift).collect();
            prop_assert_eq!(integers(&values).integers::<i64>("x", &[values.len()]).unwrap(), values);
        }
    }
}
