//! Prints the report of this machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    print!("{}", flowrl_bits::report()?);
    Ok(())
}
