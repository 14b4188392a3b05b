//! Compiles every kernel with NVRTC and writes the PTX and the machine code, for people who want to read them and for `cargo xtask kernels`,
//! which counts registers. No GPU is needed: `cargo run -p flowrl-cuda --example ptx -- FOLDER 80 90 100`.

use std::path::Path;

use flowrl_cuda::Precision;

fn main() -> std::process::ExitCode {
    let Err(error) = write() else { return std::process::ExitCode::SUCCESS };
    eprintln!("{error}");
    std::process::ExitCode::FAILURE
}

fn write() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let folder = words.next().ok_or("wanted: FOLDER ARCHITECTURE..., such as target/kernels 80 90")?;
    std::fs::create_dir_all(&folder)?;
    for word in words {
        let architecture: i32 = word.parse().map_err(|_| format!("`{word}` is no architecture, such as 90"))?;
        for kernels in flowrl_cuda::compile_kernels((architecture / 10, architecture % 10))? {
            let storage = if kernels.precision == Precision::Bf16 { "bf16" } else { "f32" };
            let stem = kernels.file.trim_end_matches(".cu");
            let path = Path::new(&folder).join(format!("{stem}.{storage}.sm_{architecture}.ptx"));
            if let Some(cubin) = kernels.cubin {
                std::fs::write(path.with_extension("cubin"), cubin)?;
            }
            std::fs::write(path, kernels.ptx)?;
        }
    }
    Ok(())
}
