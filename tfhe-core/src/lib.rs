pub mod buffer;
pub mod decomposition;
pub mod fft;
pub mod gadget;
pub mod noise;
pub mod params;
pub mod torus;
