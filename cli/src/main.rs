//! The program `flowrl-cli`.

fn main() -> std::process::ExitCode {
    flowrl_cli::command_line::main()
}
