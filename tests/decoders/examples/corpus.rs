//! Writes the files that fuzzing begins with to `fuzz/corpus`: `cargo run -p decoders --example corpus`.

use std::path::Path;

use decoders::{Target, samples};

fn main() -> std::io::Result<()> {
    for target in Target::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target.name());
        std::fs::create_dir_all(&folder)?;
        for (name, bytes) in samples(target) {
            std::fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}
