//! The nonlinearity of the feed-forward layer: every one that `transformers` (5.24) has by a name.

use crate::checkpoint::Checkpoint;
use crate::error::Error;
use serde_json::Value;

/// A nonlinearity. Φ is the distribution function of the normal distribution, σ(x) = 1/(1 + exp(−x)), and
/// softplus(x) = log(1 + exp(x)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// GELU in its tanh form, as GPT-2 was trained: x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2. D. Hendrycks, K. Gimpel,
    /// "Gaussian Error Linear Units" (arXiv:1606.08415), section 2.
    #[default]
    GeluTanh,
    /// x·Φ(x), of the same paper.
    Gelu,
    /// x·Φ(x), but at least −10 and at most 10.
    GeluClipped,
    /// x·σ(1.702·x), of the same paper.
    GeluSigmoid,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// max(x, 0)² (arXiv:2109.08668).
    ReluSquared,
    /// x, or 0.01·x below 0.
    LeakyRelu,
    /// x, or a·x below 0, with an a that each layer has learnt (arXiv:1502.01852).
    Prelu,
    /// x·σ(x).
    Silu,
    /// x·min(max(x + 3, 0), 6)/6.
    HardSwish,
    /// x·tanh(softplus(x)) (arXiv:1908.08681).
    Mish,
    /// p·x² + b·x, or n·(exp(min(x, e)) − 1 − x) + b·x up to 0, with numbers of each layer's own (arXiv:2411.13010).
    Xielu,
    /// σ(x).
    Sigmoid,
    /// √softplus(x).
    SqrtSoftplus,
    /// tanh(x).
    Tanh,
    /// Φ((x − 0.707107)/0.282095) (arXiv:2209.10655).
    Laplace,
    /// x.
    Linear,
}

/// Of [`Activation::Laplace`], with the digits that `transformers` has.
#[expect(clippy::approx_constant, reason = "these six digits, and not those of 1/√2")]
const LAPLACE_MEAN: f64 = 0.707107;
const LAPLACE_DEVIATION: f64 = 0.282095;

/// Each name of `transformers`.
const NAMES: [(&str, Activation); 24] = [
    ("gelu", Activation::Gelu),
    ("gelu_10", Activation::GeluClipped),
    ("gelu_accurate", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_python", Activation::Gelu),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("hardswish", Activation::HardSwish),
    ("laplace", Activation::Laplace),
    ("leaky_relu", Activation::LeakyRelu),
    ("linear", Activation::Linear),
    ("mish", Activation::Mish),
    ("prelu", Activation::Prelu),
    ("quick_gelu", Activation::GeluSigmoid),
    ("relu", Activation::Relu),
    ("relu2", Activation::ReluSquared),
    ("relu6", Activation::Relu6),
    ("sigmoid", Activation::Sigmoid),
    ("silu", Activation::Silu),
    ("sqrtsoftplus", Activation::SqrtSoftplus),
    ("swish", Activation::Silu),
    ("tanh", Activation::Tanh),
    ("xielu", Activation::Xielu),
];

impl Activation {
    /// The nonlinearity of a `config.json`'s name; the error says that there is none.
    pub(super) fn parse(name: &Value) -> Result<Self, String> {
        let known = |text: &str| NAMES.iter().find(|(known, _)| *known == text).map(|&(_, activation)| activation);
        name.as_str().and_then(known).ok_or_else(|| {
            let names = NAMES.map(|(name, _)| name).join(", ");
            format!("activation_function is {name}; one of {names} is supported")
        })
    }
}

/// The nonlinearity of one layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Nonlinearity {
    /// The same in every layer.
    Fixed(Activation),
    /// [`Activation::Prelu`].
    Prelu { slope: f32 },
    /// [`Activation::Xielu`].
    Xielu { positive: f32, negative: f32, linear: f32, epsilon: f32 },
}

impl Nonlinearity {
    /// The nonlinearity of a layer, with its numbers if it has any: `h.LAYER.mlp.act.*`.
    pub(super) fn load(activation: Activation, checkpoint: &Checkpoint, layer: usize) -> Result<Self, Error> {
        let number = |name: &str, shape: &[usize]| {
            Ok::<_, Error>(checkpoint.tensor_of_shape(&format!("h.{layer}.mlp.act.{name}"), shape)?.data()[0])
        };
        Ok(match activation {
            Activation::Prelu => Self::Prelu { slope: number("weight", &[1])? },
            Activation::Xielu => {
                // `transformers` keeps these numbers in bf16, whatever the type of all others.
                let bf16 = |x: f32| half::bf16::from_f32(x).to_f32();
                let linear = number("beta", &[])?;
                Self::Xielu {
                    positive: bf16(softplus(number("alpha_p", &[1])?)),
                    negative: bf16(linear + bf16(softplus(number("alpha_n", &[1])?))),
                    linear,
                    epsilon: number("eps", &[])?,
                }
            }
            fixed => Self::Fixed(fixed),
        })
    }

    /// Of one value.
    pub(super) fn apply(&self, x: f32) -> f32 {
        match *self {
            Self::Fixed(activation) => activation.apply(x),
            Self::Prelu { slope } => x.max(0.0) + slope * x.min(0.0),
            Self::Xielu { positive, linear, .. } if x > 0.0 => positive * x * x + linear * x,
            Self::Xielu { negative, linear, epsilon, .. } => negative * (x.min(epsilon).exp_m1() - x) + linear * x,
        }
    }
}

impl Activation {
    /// Of one value. The two whose numbers each layer learns are [`Nonlinearity`]'s.
    pub(crate) fn apply(self, x: f32) -> f32 {
        match self {
            Self::GeluTanh => {
                let inner = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Self::Gelu => (x as f64 * normal_distribution(x as f64)) as f32,
            Self::GeluClipped => Self::Gelu.apply(x).clamp(-10.0, 10.0),
            Self::GeluSigmoid => x * sigmoid(1.702 * x),
            Self::Relu => x.max(0.0),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::ReluSquared => x.max(0.0) * x.max(0.0),
            Self::LeakyRelu => x.max(0.0) + 0.01 * x.min(0.0),
            Self::Silu => x * sigmoid(x),
            Self::HardSwish => x * ((x + 3.0).clamp(0.0, 6.0) / 6.0),
            Self::Mish => x * softplus(x).tanh(),
            Self::Sigmoid => sigmoid(x),
            Self::SqrtSoftplus => softplus(x).sqrt(),
            Self::Tanh => x.tanh(),
            Self::Laplace => normal_distribution((x as f64 - LAPLACE_MEAN) / LAPLACE_DEVIATION) as f32,
            Self::Linear | Self::Prelu | Self::Xielu => x,
        }
    }
}

/// 1/(1 + exp(−x)).
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// log(1 + exp(x)), without overflow.
fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Φ(x), the probability that a normal variable is at most x, to within 1e-12.
///
/// Φ(x) = 1/2 + φ(x)·Σ x^(2n+1) / (1·3·…·(2n+1)) (Abramowitz and Stegun, 26.2.11), where the sum has no cancellation.
fn normal_distribution(x: f64) -> f64 {
    const BEYOND: f64 = 8.0; // 1 − Φ(8) < 1e-15
    if x.abs() > BEYOND {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTS: [f32; 6] = [-3.5, -0.75, 0.0, 0.5, 2.0, 7.0];

    /// What torch 2.15.0 gives in f64 for `transformers.activations.ACT2FN[name]` of transformers 5.24.0 at [`POINTS`].
    const KNOWN: [(&str, [f64; 6]); 24] = [
        ("gelu", [-0.000814202, -0.169970514, 0.0, 0.345731231, 1.954499736, 7.0]),
        ("gelu_10", [-0.000814202, -0.169970514, 0.0, 0.345731231, 1.954499736, 7.0]),
        ("gelu_accurate", [-0.000616198, -0.170039445, 0.0, 0.34571401, 1.954597694, 7.0]),
        ("gelu_fast", [-0.000616198, -0.170039445, 0.0, 0.34571401, 1.954597694, 7.0]),
        ("gelu_new", [-0.000616198, -0.170039445, 0.0, 0.34571401, 1.954597694, 7.0]),
        ("gelu_python", [-0.000814202, -0.169970514, 0.0, 0.345731231, 1.954499736, 7.0]),
        ("gelu_python_tanh", [-0.000616198, -0.170039445, 0.0, 0.34571401, 1.954597694, 7.0]),
        ("gelu_pytorch_tanh", [-0.000616198, -0.170039445, 0.0, 0.34571401, 1.954597694, 7.0]),
        ("hardswish", [-0.0, -0.28125, 0.0, 0.291666667, 1.666666667, 7.0]),
        ("laplace", [0.0, 1.2e-07, 0.00609446, 0.231421148, 0.99999771, 1.0]),
        ("leaky_relu", [-0.035, -0.0075, 0.0, 0.5, 2.0, 7.0]),
        ("linear", [-3.5, -0.75, 0.0, 0.5, 2.0, 7.0]),
        ("mish", [-0.104095754, -0.276494715, 0.0, 0.375245211, 1.94395896, 6.99998838]),
        ("prelu", [-0.875, -0.1875, 0.0, 0.5, 2.0, 7.0]),
        ("quick_gelu", [-0.009033446, -0.163609942, 0.0, 0.350388437, 1.935658623, 6.999953128]),
        ("relu", [0.0, 0.0, 0.0, 0.5, 2.0, 7.0]),
        ("relu2", [0.0, 0.0, 0.0, 0.25, 4.0, 49.0]),
        ("relu6", [0.0, 0.0, 0.0, 0.5, 2.0, 6.0]),
        ("sigmoid", [0.029312231, 0.320821301, 0.5, 0.622459331, 0.880797078, 0.999088949]),
        ("silu", [-0.102592808, -0.240615976, 0.0, 0.311229666, 1.761594156, 6.993622642]),
        ("sqrtsoftplus", [0.172483096, 0.621989555, 0.832554611, 0.986953385, 1.458399126, 2.645923556]),
        ("swish", [-0.102592808, -0.240615976, 0.0, 0.311229666, 1.761594156, 6.993622642]),
        ("tanh", [-0.998177898, -0.635148952, 0.0, 0.462117157, 0.96402758, 0.999998337]),
        ("xielu", [0.276357904, -0.196913411, -8e-07, 0.450099032, 4.201584518, 42.719410349]),
    ];

    /// What `ACT2FN` makes "prelu" and "xielu" with.
    fn new(activation: Activation) -> Nonlinearity {
        match activation {
            Activation::Prelu => Nonlinearity::Prelu { slope: 0.25 },
            Activation::Xielu => {
                let [positive, negative] = [softplus(0.20410156), 0.5 + softplus(-1.046875)];
                Nonlinearity::Xielu { positive, negative, linear: 0.5, epsilon: -9.98378e-7 }
            }
            fixed => Nonlinearity::Fixed(fixed),
        }
    }

    #[test]
    fn every_name_at_known_points() {
        for ((name, expected), (named, _)) in KNOWN.into_iter().zip(NAMES) {
            assert_eq!(name, named);
            let activation = new(Activation::parse(&name.into()).unwrap());
            for (x, expected) in POINTS.into_iter().zip(expected) {
                let found = f64::from(activation.apply(x));
                assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{name}({x}) = {found}");
            }
            assert!([-1e15, 1e15].iter().all(|&x| activation.apply(x).is_finite()), "{name}");
        }
    }

    /// The figures that tell the forms of GELU apart, from the definitions: Φ(−0.75) = 0.226627.
    #[test]
    fn the_forms_of_gelu_differ() {
        let at = |name: &str| new(Activation::parse(&name.into()).unwrap()).apply(-0.75);
        let [exact, tanh, quick] = [-0.1699705, -0.1700394, -0.1636099];
        for name in ["gelu", "gelu_python", "gelu_10"] {
            assert!((at(name) - exact).abs() < 1e-7, "{name}");
        }
        for name in ["gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh"] {
            assert!((at(name) - tanh).abs() < 1e-7, "{name}");
        }
        assert!((at("quick_gelu") - quick).abs() < 1e-7);
    }

    /// Φ to 12 digits, from tables (Abramowitz and Stegun, table 26.1).
    #[test]
    fn normal_distribution_at_known_points() {
        let known = [(0.0, 0.5), (1.0, 0.841344746069), (2.0, 0.977249868052), (3.0, 0.998650101968)];
        for (x, phi) in known {
            assert!((normal_distribution(x) - phi).abs() < 1e-12, "{x}");
            assert!((normal_distribution(-x) - (1.0 - phi)).abs() < 1e-12, "-{x}");
        }
        assert!((normal_distribution(7.999) - 1.0).abs() < 1e-12 && normal_distribution(-9.0) == 0.0);
    }

    /// The tanh form stays within 5e-4 of the exact one (figure of arXiv:1606.08415; the largest gap is 4.7e-4).
    #[test]
    fn the_two_forms_are_close() {
        for step in -800..=800 {
            let x = step as f32 / 100.0;
            assert!((Activation::GeluTanh.apply(x) - Activation::Gelu.apply(x)).abs() < 5e-4, "{x}");
        }
    }
}
