//! The two ways to multiply integers.

/// How two encrypted integers are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "command-line", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Multiply {
    /// By multiplying ciphertexts, without lookups.
    Product,
    /// By x·y = ⌊(x+y)²/4⌋ − ⌊(x−y)²/4⌋: two lookups a product, as in the article.
    Lut,
}

impl Multiply {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Lut => "lut",
        }
    }
}
