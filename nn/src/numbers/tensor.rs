//! Tensors of any number of dimensions, as files hold them.

use crate::error::Error;
use crate::matrix::Matrix;
use safetensors::Dtype;

/// A dense tensor of f32, the last dimension contiguous.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

/// A dense tensor of any type, as a file holds it: entries little-endian, the last dimension contiguous.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawTensor {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// As many as type and shape need.
    pub(crate) bytes: Vec<u8>,
}

impl Tensor {
    /// The tensor of a shape with entries `data`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the product of the shape is not the number of entries.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Result<Self, Error> {
        let count = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        if count != Some(data.len()) {
            return Err(Error::shape("the tensor", format!("{shape:?}"), &[data.len()]));
        }
        Ok(Self { shape, data })
    }

    /// The size of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// All entries.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// All entries.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// The part with the given index in the first dimension: `[n, …] -> […]`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if there is no such part.
    pub fn part(&self, index: usize) -> Result<Self, Error> {
        let Some((&count, shape)) = self.shape.split_first().filter(|(count, _)| index < **count) else {
            let allowed = format!("less than the first dimension of the shape {:?}", self.shape);
            return Err(Error::out_of_range("the index of a part of a tensor", index, allowed));
        };
        let size = self.data.len() / count;
        Ok(Self { shape: shape.to_vec(), data: self.data[index * size..(index + 1) * size].to_vec() })
    }

    /// The tensor as a matrix.
    ///
    /// # Errors
    /// [`Error::Shape`] if it does not have two dimensions.
    pub fn into_matrix(self) -> Result<Matrix<f32>, Error> {
        match self.shape[..] {
            [rows, cols] => Matrix::new(rows, cols, self.data),
            _ => Err(Error::shape("the tensor", "two dimensions", &self.shape)),
        }
    }
}

impl From<Matrix<f32>> for Tensor {
    fn from(matrix: Matrix<f32>) -> Self {
        Self { shape: vec![matrix.rows(), matrix.cols()], data: matrix.into_data() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_matrices() {
        let tensor = Tensor::new(vec![2, 1, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let part = tensor.part(1).unwrap().into_matrix().unwrap();
        assert_eq!((part.rows(), part.data()), (1, &[4.0, 5.0, 6.0][..]));
        assert!(matches!(tensor.part(2), Err(Error::OutOfRange { .. })));
        assert!(matches!(tensor.into_matrix(), Err(Error::Shape { .. })));
        assert!(matches!(Tensor::new(vec![usize::MAX, 2], vec![]), Err(Error::Shape { .. })));
        assert!(Tensor::new(vec![0, 3], vec![]).unwrap().part(0).is_err());
    }
}
