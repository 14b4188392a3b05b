//! Writes a manual page for each command: `cargo run -p flowrl-cli --example man -- FOLDER`. To read one, run for
//! example `man FOLDER/flowrl-cli-train.1`.

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).ok_or(anyhow::anyhow!("missing argument: the folder to write to"))?;
    std::fs::create_dir_all(&folder)?;
    clap_mangen::generate_to(flowrl_cli::command_line::command(), folder)?;
    Ok(())
}
