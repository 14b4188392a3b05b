//! The resources that a kernel needs, as reported by NVIDIA's assembler (`ptxas -v`, also within NVRTC).

/// The resources of a kernel on one architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    pub(crate) kernel: String,
    /// Registers per thread.
    pub(crate) registers: u32,
    /// Bytes of static shared memory.
    pub(crate) shared: u32,
    /// Bytes of local memory per thread, for arrays that cannot be in registers and for spills.
    pub(crate) local: u32,
    /// Bytes of spill stores and spill loads.
    pub(crate) spills: u32,
}

/// Parses the output of `ptxas -v`, and returns the resources of each kernel.
pub(crate) fn parse(log: &str) -> Vec<Resources> {
    let mut found: Vec<Resources> = Vec::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let kernel = rest.split('\'').next().unwrap_or_default().to_owned();
            found.push(Resources { kernel, ..Resources::default() });
        } else if let Some(last) = found.last_mut() {
            last.local =
                last.local.max(number_before(line, " bytes stack frame")).max(number_before(line, " bytes lmem"));
            last.spills += number_before(line, " bytes spill stores") + number_before(line, " bytes spill loads");
            last.registers = last.registers.max(number_before(line, " registers"));
            last.shared = last.shared.max(number_before(line, " bytes smem"));
        }
    }
    found
}

/// Returns the number before the first `unit` of a line, or 0 if the line does not contain the unit.
fn number_before(line: &str, unit: &str) -> u32 {
    let before = line.split_once(unit).map_or("", |(before, _)| before);
    before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

impl Resources {
    /// Returns the problems of the kernel. `bounded` says whether it declares `__launch_bounds__`.
    pub(crate) fn problems(&self, bounded: bool) -> Vec<String> {
        // A multiprocessor has 65536 registers, and a block has up to 1024 threads.
        const SHARE: u32 = 64;
        let Self { registers, local, spills, .. } = self;
        let mut problems = Vec::new();
        if *spills > 0 {
            problems.push(format!("{spills} bytes of registers spill"));
        }
        if *local > 0 {
            let why = "an array is indexed by a value that is unknown at compile time";
            problems.push(format!("{local} bytes of local memory: {why}"));
        }
        if *registers > SHARE && !bounded {
            let why = "so a block of 1024 threads cannot start: declare the largest block by __launch_bounds__";
            problems.push(format!("{registers} registers, {why}"));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'softmax' for 'sm_90'
ptxas info    : Function properties for softmax
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 21 registers, used 1 barriers, 256 bytes smem
ptxas info    : Compile time = 65.647 ms
ptxas info    : Compiling entry function 'attention' for 'sm_90'
ptxas info    : Function properties for attention
    48 bytes stack frame, 44 bytes spill stores, 40 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers, 48 bytes cumulative stack size
";

    #[test]
    fn a_log_is_read() {
        let softmax = Resources { kernel: "softmax".to_owned(), registers: 21, shared: 256, ..Resources::default() };
        let attention = Resources { kernel: "attention".to_owned(), registers: 255, shared: 0, local: 48, spills: 84 };
        assert_eq!(parse(LOG), [softmax, attention]);
    }

    #[test]
    fn problems_are_named() {
        let [softmax, attention] = &parse(LOG)[..] else { panic!("two kernels") };
        assert!(softmax.problems(false).is_empty());
        let problems = attention.problems(true).join(", ");
        assert!(
            problems.contains("84 bytes of registers spill") && problems.contains("48 bytes of local"),
            "{problems}"
        );
        assert!(attention.problems(false).iter().any(|problem| problem.contains("__launch_bounds__")));
    }
}
