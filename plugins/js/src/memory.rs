//! Memory that leaves nothing behind while the engine is made.
//!
//! What is freed then would stay in the component for ever, as bytes that mean nothing: the compiled libraries, and whatever they used while they were loaded.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

static IS_CLEARED: AtomicBool = AtomicBool::new(false);

struct Clearing;

#[global_allocator]
static MEMORY: Clearing = Clearing;

/// Whether memory is cleared when it is freed.
pub(crate) fn clear_what_is_freed(is_cleared: bool) {
    IS_CLEARED.store(is_cleared, Ordering::Relaxed);
}

#[expect(unsafe_code, reason = "an allocator")]
// SAFETY: everything is the system's; what is freed was handed out whole by it, and is nobody's when it is cleared.
unsafe impl GlobalAlloc for Clearing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe {
            if IS_CLEARED.load(Ordering::Relaxed) {
                memory.write_bytes(0, layout.size());
            }
            // Else the compiler leaves out what nobody reads again.
            System.dealloc(std::hint::black_box(memory), layout);
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        unsafe {
            if !IS_CLEARED.load(Ordering::Relaxed) {
                return System.realloc(memory, layout, size);
            }
            let moved = System.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(memory, size.min(layout.size()));
                self.dealloc(memory, layout);
            }
            moved
        }
    }
}
