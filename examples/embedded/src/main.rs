//! A FlowRL loss and its gradient on a microcontroller with 16 KiB of memory, no operating system and no allocator.
//! `cargo xtask embedded` runs it under qemu and also on the host. Both must print the same bits.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod report;

#[cfg(target_os = "none")]
mod firmware {
    use core::fmt::Write;

    use cortex_m_rt::entry;
    use cortex_m_semihosting::{debug, hio};

    #[entry]
    fn main() -> ! {
        let written = hio::hstdout().map(|mut out| super::report::write(&mut out));
        exit(if let Ok(Ok(())) = written { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE })
    }

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        let _ = hio::hstdout().map(|mut out| writeln!(out, "{info}"));
        exit(debug::EXIT_FAILURE)
    }

    /// Ends the emulator. If there is no emulator, this sleeps.
    fn exit(status: debug::ExitStatus) -> ! {
        debug::exit(status);
        loop {
            cortex_m::asm::wfi();
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() -> Result<(), core::fmt::Error> {
    let mut text = String::new();
    report::write(&mut text)?;
    print!("{text}");
    Ok(())
}
