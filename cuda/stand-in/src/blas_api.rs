//! cuBLASLt's functions, as C declares them.

use std::ffi::{c_int, c_void};

use cudarc::cublaslt::sys::cublasLtMatmulDescAttributes_t as Attribute;
use cudarc::cublaslt::sys::cublasLtMatmulPreferenceAttributes_t as Wish;
use cudarc::cublaslt::sys::cublasStatus_t::{
    self, CUBLAS_STATUS_EXECUTION_FAILED, CUBLAS_STATUS_INVALID_VALUE, CUBLAS_STATUS_NOT_INITIALIZED,
    CUBLAS_STATUS_NOT_SUPPORTED, CUBLAS_STATUS_SUCCESS,
};
use cudarc::cublaslt::sys::{
    cublasComputeType_t, cublasLtEpilogue_t, cublasLtMatmulAlgo_t, cublasLtMatmulHeuristicResult_t, cudaDataType_t,
};
use cudarc::driver::sys::CUresult::{self, CUDA_ERROR_INVALID_VALUE, CUDA_SUCCESS};

use crate::api::{exports, in_context, put};
use crate::blas::{Blas, Description, Objects, Preference, Shape};
use crate::driver::Driver;
use crate::matrix::Layout;
use crate::refusal::{Refusal, invalid, limit};
use crate::report;

/// Marks an algorithm that this library chose.
const CHOSEN: u64 = 0x666c_6f77_726c;
/// Overwrites the workspace in each product, as an algorithm's scratch data would. It is NaN at every width.
const SCRATCH: u8 = 0xff;

/// Runs a call in the calling thread's context. The real cuBLASLt opens the first device's context if there is none;
/// this library refuses the call instead.
fn blas(name: &str, body: impl FnOnce(&mut Driver) -> Result<(), Refusal>) -> cublasStatus_t {
    match in_context(name, body) {
        CUDA_SUCCESS => CUBLAS_STATUS_SUCCESS,
        CUDA_ERROR_INVALID_VALUE => CUBLAS_STATUS_INVALID_VALUE,
        CUresult::CUDA_ERROR_LAUNCH_FAILED => CUBLAS_STATUS_EXECUTION_FAILED,
        CUresult::CUDA_ERROR_NOT_SUPPORTED => CUBLAS_STATUS_NOT_SUPPORTED,
        _ => CUBLAS_STATUS_NOT_INITIALIZED,
    }
}

fn unknown(what: &str, handle: u64) -> Refusal {
    invalid(format!("{handle:#x} is not a live {what}"))
}

#[unsafe(no_mangle)]
extern "C" fn cublasLtGetVersion() -> usize {
    120_901
}

/// Reads an attribute's value, which must have its documented size.
fn value<T: Copy>(at: *const c_void, bytes: usize) -> Result<T, Refusal> {
    if at.is_null() || bytes != size_of::<T>() {
        return Err(invalid(format!("{bytes} bytes of an attribute of {}", size_of::<T>())));
    }
    // SAFETY: the caller guarantees this many bytes, and every type read here is a plain number.
    Ok(unsafe { at.cast::<T>().read_unaligned() })
}

/// Reads an operation and returns whether it transposes: `CUBLAS_OP_N` does not, `CUBLAS_OP_T` does.
fn operation(at: *const c_void, bytes: usize) -> Result<bool, Refusal> {
    match value::<i32>(at, bytes)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(invalid(format!("the stand-in does not support operation {other}"))),
    }
}

/// Returns the product that these handles describe.
fn shape(blas: &Blas, handle: u64, product: u64, layouts: [u64; 4]) -> Result<Shape, Refusal> {
    if !blas.opened.contains_key(&handle) {
        return Err(unknown("handle", handle));
    }
    let description = *blas.products.get(&product).ok_or_else(|| unknown("description", product))?;
    let layout = |name: u64| blas.layouts.get(&name).copied().ok_or_else(|| unknown("layout", name));
    let [a, b, c, d] = layouts;
    Shape::new(description, [layout(a)?, layout(b)?, layout(c)?, layout(d)?]).map_err(invalid)
}

/// Keeps a new object and puts its handle in a place of the caller.
fn create<T>(
    driver: &mut Driver,
    place: *mut u64,
    all: fn(&mut Blas) -> &mut Objects<T>,
    new: T,
) -> Result<(), Refusal> {
    let handle = driver.name();
    all(&mut driver.blas).insert(handle, new);
    put(place, handle)
}

fn destroy<T>(all: &mut Objects<T>, what: &str, handle: u64) -> Result<(), Refusal> {
    all.remove(&handle).map(drop).ok_or_else(|| unknown(what, handle))
}

exports! { blas -> cublasStatus_t:
    fn cublasLtCreate(driver, handle: *mut u64) { create(driver, handle, |blas| &mut blas.opened, ()) }
    fn cublasLtDestroy(driver, handle: u64) { destroy(&mut driver.blas.opened, "handle", handle) }

    fn cublasLtMatrixLayoutCreate(
        driver, layout: *mut u64, element: cudaDataType_t, rows: u64, columns: u64, leading: i64,
    ) {
        let new = Layout::new(element, rows, columns, leading).map_err(invalid)?;
        create(driver, layout, |blas| &mut blas.layouts, new)
    }

    fn cublasLtMatrixLayoutDestroy(driver, layout: u64) { destroy(&mut driver.blas.layouts, "layout", layout) }

    fn cublasLtMatmulDescCreate(driver, product: *mut u64, compute: cublasComputeType_t, scale: cudaDataType_t) {
        create(driver, product, |blas| &mut blas.products, Description::new(compute, scale).map_err(invalid)?)
    }

    fn cublasLtMatmulDescDestroy(driver, product: u64) { destroy(&mut driver.blas.products, "description", product) }

    fn cublasLtMatmulDescSetAttribute(driver, product: u64, attribute: Attribute, at: *const c_void, bytes: usize) {
        let product = driver.blas.products.get_mut(&product).ok_or_else(|| unknown("description", product))?;
        match attribute {
            Attribute::CUBLASLT_MATMUL_DESC_TRANSA => product.transpose_a = operation(at, bytes)?,
            Attribute::CUBLASLT_MATMUL_DESC_TRANSB => product.transpose_b = operation(at, bytes)?,
            Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER => product.bias = value(at, bytes)?,
            Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE => {
                let epilogue: u32 = value(at, bytes)?;
                product.has_bias = epilogue == cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS as u32;
                if !product.has_bias && epilogue != cublasLtEpilogue_t::CUBLASLT_EPILOGUE_DEFAULT as u32 {
                    return Err(invalid(format!("the stand-in does not support epilogue {epilogue}")));
                }
            }
            _ => return Err(invalid(format!("the stand-in does not support {attribute:?}"))),
        }
        Ok(())
    }

    fn cublasLtMatmulPreferenceCreate(driver, preference: *mut u64) {
        create(driver, preference, |blas| &mut blas.preferences, Preference::default())
    }

    fn cublasLtMatmulPreferenceDestroy(driver, preference: u64) {
        destroy(&mut driver.blas.preferences, "preference", preference)
    }

    fn cublasLtMatmulPreferenceSetAttribute(driver, preference: u64, attribute: Wish, at: *const c_void, bytes: usize) {
        let found = driver.blas.preferences.get_mut(&preference);
        let preference = found.ok_or_else(|| unknown("preference", preference))?;
        match attribute {
            Wish::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES => preference.workspace = value(at, bytes)?,
            Wish::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK => preference.reductions = value(at, bytes)?,
            _ => return Err(invalid(format!("the stand-in does not support {attribute:?}"))),
        }
        Ok(())
    }

    fn cublasLtMatmulAlgoGetHeuristic(
        driver, handle: u64, product: u64, a: u64, b: u64, c: u64, d: u64, preference: u64, requested: c_int,
        results: *mut cublasLtMatmulHeuristicResult_t, count: *mut c_int,
    ) {
        let shape = shape(&driver.blas, handle, product, [a, b, c, d])?;
        if requested < 1 {
            return Err(invalid(format!("{requested} algorithms are requested, expected at least 1")));
        }
        let found = driver.blas.preferences.get(&preference).copied();
        let preference = found.ok_or_else(|| unknown("preference", preference))?;
        if shape.is_refused(preference, driver.limits.refused) {
            return Err(limit(CUresult::CUDA_ERROR_NOT_SUPPORTED));
        }
        let (number, choice) = driver.blas.choose(shape, preference);
        let mut algo = cublasLtMatmulAlgo_t { data: [0; 8] };
        algo.data[..2].copy_from_slice(&[CHOSEN, number as u64]);
        put(
            results,
            cublasLtMatmulHeuristicResult_t {
                algo,
                workspaceSize: choice.workspace,
                state: CUBLAS_STATUS_SUCCESS,
                wavesCount: 1.0,
                reserved: [0; 4],
            },
        )?;
        put(count, 1)
    }

    fn cublasLtMatmul(
        driver, handle: u64, product: u64, alpha: *const f32, a: u64, a_layout: u64, b: u64, b_layout: u64,
        beta: *const f32, c: u64, c_layout: u64, d: u64, d_layout: u64, algorithm: *const cublasLtMatmulAlgo_t,
        workspace: u64, workspace_bytes: usize, stream: u64,
    ) {
        let shape = shape(&driver.blas, handle, product, [a_layout, b_layout, c_layout, d_layout])?;
        if alpha.is_null() || beta.is_null() || algorithm.is_null() {
            return Err(invalid("a scale or the algorithm is null"));
        }
        // SAFETY: the caller guarantees that the scales lie on the host, and that the algorithm is valid.
        let (alpha, beta, algorithm) = unsafe { (alpha.read(), beta.read(), algorithm.read()) };
        let [CHOSEN, number, ..] = algorithm.data else { return Err(invalid("an algorithm that was never chosen")) };
        let addresses = [a, b, c, d];
        let checked = driver.blas.check(number as usize, shape, addresses, (workspace, workspace_bytes));
        let choice = checked.map_err(invalid)?;
        if driver.limits.refused.execution && shape.is_one_row_with_bias() {
            return Err(limit(CUresult::CUDA_ERROR_LAUNCH_FAILED));
        }
        let mut uses = shape.uses(addresses, beta).map_err(invalid)?;
        if choice.workspace > 0 {
            uses.push((workspace, choice.workspace));
        }
        report::count(&report::PRODUCTS);
        driver.enqueue(stream, &uses, move || {
            // SAFETY: device memory is host memory here, these parts of it stay allocated until this operation has
            // run, and D shares memory with nothing but C.
            unsafe {
                (workspace as *mut u8).write_bytes(SCRATCH, choice.workspace);
                shape.multiply(addresses, alpha, beta, choice.in_parts);
            }
            Ok(())
        })
    }
}
