#!/usr/bin/env bash
# pulldown-latex: numbers on both sides of a comma become one number.
#
# One would expect: a comma between digits is punctuation, as in TeX, which sets `(1,0)` as a pair with a little space
# after the comma, and writes a decimal comma as `1{,}5`.
# What happens: `1,0` is one `<mn>1,0</mn>`, so that a pair looks like, and is read aloud as, the decimal number 1,0. `(a,b)`
# is a pair, and so is `(1, 0)` with a space: whether there is one decides, which in TeX's math mode means nothing.
# Seen with: pulldown-latex 0.8.0.
# Why it matters: vectors of small integers, as in examples of lattices, are numbers in the pages. The book of this
# repository is built with it: `book/src/formulas.rs` puts the space in.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "check"
version = "0.0.0"
edition = "2021"

[dependencies]
pulldown-latex = "=0.8.0"
TOML
cat > "$dir/src/main.rs" <<'RS'
use pulldown_latex::{mathml::push_mathml, Parser, RenderConfig, Storage};

fn main() {
    let mut as_described = true;
    for (tex, numbers) in [("(1,0)", vec!["1,0"]), ("(1, 0)", vec!["1", "0"]), ("(a,b)", vec![])] {
        let (storage, mut html) = (Storage::new(), String::new());
        push_mathml(&mut html, Parser::new(tex, &storage), RenderConfig::default()).expect("a formula");
        let found: Vec<&str> = html.split("<mn>").skip(1).map(|part| part.split("</mn>").next().unwrap()).collect();
        println!("{tex:8} numbers {found:?}");
        as_described &= found == numbers;
    }
    println!("{}", if as_described { "as described" } else { "CHANGED" });
    std::process::exit(i32::from(!as_described));
}
RS
cd "$dir"
cargo tree --quiet --depth 1 | tail -1
cargo run --quiet
