//! Command line of flowrl.

fn main() -> std::process::ExitCode {
    flowrl_cli::command_line::main()
}
