//! `cargo xtask examples` runs the examples that use the core and the lab; `cargo xtask embedded` runs the one without
//! an operating system.

use crate::args::{Args, choose};
use crate::bits::same;
use crate::command::{Outcome, cargo, printed, program, run as run_command};
use crate::{files, install};

/// Examples of the lab and the core, with their crates, built with the workspace.
const OF_WORKSPACE: [(&str, &str); 3] = [("bandit", "lab"), ("hypergrid", "lab"), ("own_trainer", "core")];
/// Examples that are crates in `examples/`, with their own dependencies.
const CRATES: [&str; 5] = ["with_ndarray", "with_candle", "with_burn", "train_candle", "cuda_stream"];
const TARGET_FOLDER: &str = "target/examples";

pub(crate) fn run(mut args: Args) -> Outcome {
    let names = args.words();
    args.finish()?;
    let known: Vec<&str> = OF_WORKSPACE.iter().map(|(name, _)| *name).chain(CRATES).collect();
    choose(&known, |name| name, &names, "unknown example")?.into_iter().try_for_each(|name| {
        println!("\n=== {name}");
        run_command(match OF_WORKSPACE.iter().find(|(of_workspace, _)| of_workspace == name) {
            Some((_, folder)) => {
                cargo(&["run", "--release", "--quiet", "-p", &format!("flowrl-{folder}"), "--example", name])
            }
            None => of_crate("run", name, TARGET_FOLDER),
        })
    })
}

/// Returns the command `cargo SUBCOMMAND` for a crate in `examples/`.
fn of_crate(subcommand: &str, name: &str, target_folder: &str) -> std::process::Command {
    let manifest = format!("examples/{name}/Cargo.toml");
    cargo(&[subcommand, "--release", "--quiet", "--manifest-path", &manifest, "--target-dir", target_folder])
}

const BARE_METAL: &str = "thumbv6m-none-eabi";
const FIRMWARE_FOLDER: &str = "target/embedded";
const FIRMWARE: &str = "target/embedded/thumbv6m-none-eabi/release/embedded";
/// The program, and the package that contains it.
const QEMU: &str = "qemu-system-arm";

pub(crate) fn embedded(args: Args) -> Outcome {
    args.finish()?;
    install::tool(QEMU, QEMU)?;
    install::target(BARE_METAL)?;
    run_command(of_crate("build", "embedded", FIRMWARE_FOLDER).args(["--target", BARE_METAL]))?;
    let mut qemu = program(QEMU, &["-machine", "microbit", "-nographic", "-monitor", "none", "-serial", "none"]);
    let firmware = printed(qemu.args(["-semihosting-config", "enable=on,target=native", "-kernel", FIRMWARE]))?;
    println!("{firmware}");
    let host = printed(of_crate("run", "embedded", FIRMWARE_FOLDER))?;
    let lines = same("this machine", &host, "the emulated Cortex-M0", &firmware)?;
    let flash = flash_size(&files::bytes(FIRMWARE)?)
        .ok_or_else(|| format!("{FIRMWARE} is not a little-endian 32-bit ELF file"))?;
    println!("\n{lines} lines, the same bits as on this machine; {flash} bytes of flash, printing included");
    Ok(())
}

/// Returns the bytes of the loaded segments of a little-endian 32-bit ELF file, or None if it is not one.
fn flash_size(image: &[u8]) -> Option<u32> {
    const LOAD: u32 = 1;
    let word = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_le_bytes(image.get(at..at + 2)?.try_into().ok()?));
    if image.get(..6)? != b"\x7fELF\x01\x01" {
        return None;
    }
    let (headers, size, count) = (word(28)? as usize, usize::from(half(42)?), usize::from(half(44)?));
    (0..count).map(|i| headers + i * size).try_fold(0, |total, header| {
        let bytes = if word(header)? == LOAD { word(header + 16)? } else { 0 };
        Some(total + bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_there() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (name, folder) in OF_WORKSPACE {
            assert!(root.join(format!("{folder}/examples/{name}.rs")).is_file(), "{name}");
        }
        for name in CRATES {
            assert!(root.join(format!("examples/{name}/src/main.rs")).is_file(), "{name}");
        }
        assert!(run(Args::new(["x".to_owned()])).unwrap_err().contains("with_candle"));
    }

    #[test]
    fn loaded_segments_are_added() {
        let mut image = vec![0_u8; 52 + 3 * 32];
        image[..6].copy_from_slice(b"\x7fELF\x01\x01");
        (image[28], image[42], image[44]) = (52, 32, 3);
        for (i, (kind, bytes)) in [(1, 0x10), (2, 0x20), (1, 0x04)].into_iter().enumerate() {
            (image[52 + i * 32], image[52 + i * 32 + 16]) = (kind, bytes);
        }
        assert_eq!(flash_size(&image), Some(0x14));
        assert_eq!(flash_size(&image[..100]), None);
        assert_eq!(flash_size(b"MZ"), None);
    }
}
