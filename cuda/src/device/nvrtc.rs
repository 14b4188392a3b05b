//! NVRTC's functions. The caller has loaded the library.

use std::ffi::{CString, c_char};

use cudarc::nvrtc::{result, sys};

/// Returns NVRTC's version as (major, minor), or (0, 0) if it reports none.
pub(crate) fn nvrtc_version() -> (i32, i32) {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both integers are valid destinations.
    let _ = unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    (major, minor)
}

/// Returns the architectures that NVRTC compiles for, with 90 for compute capability 9.0.
pub(super) fn architectures() -> Vec<i32> {
    let mut count = 0;
    // SAFETY: the integer is a valid destination.
    let _ = unsafe { sys::nvrtcGetNumSupportedArchs(&raw mut count) };
    let mut known = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the vector has room for the reported number of integers.
    let _ = unsafe { sys::nvrtcGetSupportedArchs(known.as_mut_ptr()) };
    known
}

/// Compiles with NVRTC. Returns the PTX, the machine code if the options ask for it, and the log, or only the log on
/// failure.
pub(super) fn compile(
    file: &str,
    source: &str,
    options: &[String],
) -> Result<(String, Option<Vec<u8>>, String), String> {
    let text = |text: &str| CString::new(text).map_err(|error| error.to_string());
    // The program may refer to these texts until it is destroyed.
    let (file, source) = (text(file)?, text(source)?);
    let program = result::create_program(&source, Some(&file)).map_err(|error| format!("{error:?}"))?;
    let string = |bytes: Vec<c_char>| {
        let bytes: Vec<u8> = bytes.into_iter().map(|byte| byte as u8).take_while(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    // SAFETY: the program stays alive until it is destroyed, once, after its last use.
    unsafe {
        let compiled = result::compile_program(program, options);
        let log = result::get_program_log(program).map(string).unwrap_or_default();
        let made = compiled.and_then(|()| Ok((result::get_ptx(program).map(string)?, machine_code(program)?)));
        let _ = result::destroy_program(program);
        match made {
            Ok((ptx, cubin)) => Ok((ptx, cubin, log)),
            Err(error) => Err(format!("{log}{error:?}")),
        }
    }
}

/// Returns the machine code of a compiled program, or `None` if it was compiled to PTX alone.
///
/// # Safety
/// The program must be alive and compiled.
unsafe fn machine_code(program: sys::nvrtcProgram) -> Result<Option<Vec<u8>>, result::NvrtcError> {
    let mut bytes = 0;
    // SAFETY: the caller vouches for the program, and the size is a valid destination.
    unsafe { sys::nvrtcGetCUBINSize(program, &raw mut bytes) }.result()?;
    let mut cubin = vec![0_u8; bytes];
    if cubin.is_empty() {
        return Ok(None);
    }
    // SAFETY: the caller vouches for the program, and the vector has room for its machine code.
    unsafe { sys::nvrtcGetCUBIN(program, cubin.as_mut_ptr().cast()) }.result()?;
    Ok(Some(cubin))
}
