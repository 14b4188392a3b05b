//! Matrix products by cuBLASLt, with fallbacks for products that it refuses.
//!
//! The documentation does not fully state the shapes that the library supports, and they differ between its versions
//! and between GPUs. There are therefore several ways to compute a product. A product that one way refuses moves on to
//! the next, and the last way is a kernel of this crate that takes everything.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys as lt;
use cudarc::cublaslt::sys::cublasStatus_t::{
    CUBLAS_STATUS_ARCH_MISMATCH, CUBLAS_STATUS_EXECUTION_FAILED, CUBLAS_STATUS_INTERNAL_ERROR,
    CUBLAS_STATUS_INVALID_VALUE, CUBLAS_STATUS_NOT_SUPPORTED,
};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtrMut};

use super::memory::{Current, driver};
use crate::error::{Error, Result};
use crate::product::{Product, Way};
use crate::unit::Storage;

/// A cuBLASLt handle, with the way and the algorithm chosen for each shape so far.
pub(super) struct Blas {
    handle: lt::cublasLtHandle_t,
    workspace: Mutex<CudaSlice<u8>>,
    plans: Mutex<HashMap<Product, Plan>>,
}

// SAFETY: several threads may use the handle, by cuBLASLt's documentation, and the plans are behind a lock.
unsafe impl Send for Blas {}
// SAFETY: as for `Send`.
unsafe impl Sync for Blas {}

/// The way to compute products of one shape, and the library's description of them once there is one.
struct Plan {
    way: Way,
    described: Option<Described>,
}

/// cuBLASLt's descriptors and algorithm for products of one shape.
struct Described {
    description: lt::cublasLtMatmulDesc_t,
    layouts: [lt::cublasLtMatrixLayout_t; 3],
    algorithm: lt::cublasLtMatmulAlgo_t,
}

fn failed(operation: &'static str) -> impl Fn(CublasError) -> Error {
    move |error| Error::driver(format!("cuBLASLt, {operation}"), format!("{error:?}"))
}

impl Blas {
    /// Workspace size in bytes that cuBLASLt recommends for Hopper.
    const WORKSPACE: usize = 32 << 20;
    /// Number of shapes to remember.
    const PLANS: usize = 1024;

    pub(super) fn new(stream: &Arc<CudaStream>) -> Result<Self> {
        let workspace = stream.alloc_zeros(Self::WORKSPACE).map_err(driver("allocate memory for matrix products"))?;
        let handle = result::create_handle().map_err(failed("start"))?;
        Ok(Self { handle, workspace: Mutex::new(workspace), plans: Mutex::default() })
    }

    fn plans(&self) -> MutexGuard<'_, HashMap<Product, Plan>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the present way to compute products of this shape.
    pub(super) fn way(&self, product: &Product) -> Way {
        self.plans().get(product).map_or(Way::ALL[0], |plan| plan.way)
    }

    /// Chooses the way to compute products of this shape from now on, after `way` was refused. A refusal that does not
    /// concern the shape is an error.
    pub(super) fn next(&self, product: &Product, way: Way, refusal: CublasError) -> Result<Way> {
        match refusal.0 {
            CUBLAS_STATUS_NOT_SUPPORTED
            | CUBLAS_STATUS_INVALID_VALUE
            | CUBLAS_STATUS_EXECUTION_FAILED
            | CUBLAS_STATUS_ARCH_MISMATCH
            | CUBLAS_STATUS_INTERNAL_ERROR => {}
            _ => return Err(failed("multiply")(refusal)),
        }
        let way = way.next(product);
        remember(&mut self.plans(), *product, Plan { way, described: None });
        Ok(way)
    }

    /// Requests a product from the library, computed in this way. An error is a refusal; nothing has then been
    /// computed.
    ///
    /// # Safety
    /// The addresses of a, b, the bias (or 0) and c must be valid for all elements of `product`, and the stream's
    /// context must be current on this thread.
    pub(super) unsafe fn multiply(
        &self,
        stream: &Arc<CudaStream>,
        product: &Product,
        way: Way,
        [a, b, bias, c]: [u64; 4],
    ) -> Result<(), CublasError> {
        let asked = way.apply(product);
        let mut plans = self.plans();
        if !plans.get(product).is_some_and(|plan| plan.way == way && plan.described.is_some()) {
            let described = Some(Described::new(self.handle, &asked, way, bias)?);
            remember(&mut plans, *product, Plan { way, described });
        }
        let plan = plans.get(product).and_then(|plan| plan.described.as_ref()).expect("it was just described");
        if asked.bias {
            plan.set(lt::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)?;
        }
        let (one, beta) = (1.0_f32, if asked.accumulate { 1.0_f32 } else { 0.0 });
        let mut workspace = self.workspace.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, _guard) = workspace.device_ptr_mut(stream);
        // SAFETY: the caller vouches for the matrices; the descriptors and the workspace are alive, and the scales are
        // on the host.
        unsafe {
            result::matmul(
                self.handle,
                plan.description,
                (&raw const one).cast(),
                (&raw const beta).cast(),
                a as *const c_void,
                plan.layouts[0],
                b as *const c_void,
                plan.layouts[1],
                c as *const c_void,
                plan.layouts[2],
                c as *mut c_void,
                plan.layouts[2],
                &raw const plan.algorithm,
                at as *mut c_void,
                Self::WORKSPACE,
                stream.cu_stream().cast(),
            )
        }
    }
}

fn remember(plans: &mut HashMap<Product, Plan>, product: Product, plan: Plan) {
    // The number of tokens varies between batches, so a long run would otherwise store an unbounded number of shapes.
    if plans.len() >= Blas::PLANS {
        plans.clear();
    }
    plans.insert(product, plan);
}

impl Drop for Blas {
    fn drop(&mut self) {
        let workspace = self.workspace.get_mut().unwrap_or_else(PoisonError::into_inner);
        // The library works on the thread's current context, which may not be this one.
        drop(Current(Arc::clone(workspace.context())));
        self.plans.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        // SAFETY: `create_handle` made the handle, and it is not used again.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

impl Described {
    fn new(handle: lt::cublasLtHandle_t, product: &Product, way: Way, bias: u64) -> Result<Self, CublasError> {
        use lt::cublasLtMatmulDescAttributes_t::{
            CUBLASLT_MATMUL_DESC_BIAS_POINTER as BIAS_POINTER, CUBLASLT_MATMUL_DESC_EPILOGUE as EPILOGUE,
            CUBLASLT_MATMUL_DESC_TRANSA as TRANSPOSE_A, CUBLASLT_MATMUL_DESC_TRANSB as TRANSPOSE_B,
        };
        let float = lt::cudaDataType_t::CUDA_R_32F;
        let element = |storage| if storage == Storage::F32 { float } else { lt::cudaDataType_t::CUDA_R_16BF };
        let layout = |rows: usize, columns: usize, leading: usize, storage| {
            result::create_matrix_layout(element(storage), rows as u64, columns as u64, leading as i64)
        };
        // f32 products are computed in full f32, because TensorFloat-32 keeps only ten bits.
        let compute = lt::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        let mut described = Self {
            description: result::create_matmul_desc(compute, float)?,
            layouts: [std::ptr::null_mut(); 3],
            // SAFETY: the algorithm consists of plain numbers, for which zeros are valid.
            algorithm: unsafe { std::mem::zeroed() },
        };
        let Product { a, b, storages: [inputs, output], .. } = *product;
        described.layouts[0] = layout(a.stored_rows, a.stored_columns, a.stored_rows, inputs)?;
        described.layouts[1] = layout(b.stored_rows, b.stored_columns, b.stored_rows, inputs)?;
        described.layouts[2] = layout(product.rows, product.columns, product.rows, output)?;
        // The values are CUBLAS_OP_N and CUBLAS_OP_T.
        let operation = |transposed| i32::from(transposed);
        described.set(TRANSPOSE_A, &operation(a.transposed))?;
        described.set(TRANSPOSE_B, &operation(b.transposed))?;
        if product.bias {
            described.set(EPILOGUE, &lt::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS)?;
            described.set(BIAS_POINTER, &bias)?;
        }
        let preference = result::create_matmul_pref()?;
        // SAFETY: all descriptors are alive, and the preference is destroyed once. cuBLASLt copies the attributes,
        // which have the documented types.
        unsafe {
            use lt::cublasLtMatmulPreferenceAttributes_t::{
                CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES as WORKSPACE,
                CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK as REDUCTIONS,
            };
            let bytes = Blas::WORKSPACE;
            // Partial sums are combined in f32, not in the type of the result.
            let reductions = lt::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32;
            let set = result::set_matmul_pref_attribute;
            let mut all_set = set(preference, WORKSPACE, (&raw const bytes).cast(), size_of_val(&bytes));
            if !matches!(way, Way::Library { any_reduction: true, .. }) {
                let value = (&raw const reductions).cast();
                all_set = all_set.and_then(|()| set(preference, REDUCTIONS, value, size_of_val(&reductions)));
            }
            let [a, b, c] = described.layouts;
            let chosen = all_set.and_then(|()| {
                result::get_matmul_algo_heuristic(handle, described.description, a, b, c, c, preference)
            });
            let _ = result::destroy_matmul_pref(preference);
            described.algorithm = chosen?.algo;
        }
        Ok(described)
    }

    fn set<T>(&self, attribute: lt::cublasLtMatmulDescAttributes_t, value: &T) -> Result<(), CublasError> {
        // SAFETY: the descriptor is alive, and cuBLASLt copies the value, which has the attribute's documented type.
        unsafe {
            result::set_matmul_desc_attribute(
                self.description,
                attribute,
                std::ptr::from_ref(value).cast(),
                size_of::<T>(),
            )
        }
    }
}

impl Drop for Described {
    fn drop(&mut self) {
        // SAFETY: each pointer comes from cuBLASLt or is null, and is not used again.
        unsafe {
            let _ = result::destroy_matmul_desc(self.description);
            for layout in self.layouts.into_iter().filter(|layout| !layout.is_null()) {
                let _ = result::destroy_matrix_layout(layout);
            }
        }
    }
}
