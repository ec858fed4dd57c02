//! The engine of this instance: one runtime, and realms in it.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rquickjs::Runtime;
use rquickjs::allocator::RustAllocator;

use crate::realm::Realm;
use crate::thrown::Thrown;

/// Bytes that scripts may have. A component with a lower bound of its own ends there, with the same failure.
const MEMORY_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Bytes of the stack that the engine's C code uses. It is found out by `tests/e2e/script.rs` to be less than what a host gives: a frame takes
/// several times as much of the host's stack as of this one.
const STACK_BYTES_MAX: usize = 128 * 1024;

/// How long a script or a formula may take, unless somebody says otherwise. Less than the five seconds of computing that a host allows by itself: what the host
/// stops counts as a break of the plugin, and a plugin that breaks again and again is called by nobody.
pub const CALL_MAX: Duration = Duration::from_millis(4_500);

/// Bytes that a call may use before the engine looks for garbage the first time.
const GARBAGE_BYTES: usize = 8 * 1024 * 1024;

/// Bytes that are given up when a script has used up everything, so that there is room to say so.
const RESERVE_BYTES: usize = 256 * 1024;

/// The JavaScript engine of this instance.
pub struct Engine {
    runtime: Runtime,
    /// Made when the plugin was built, and not used yet, or used again by those who leave it as it was.
    realm: RefCell<Option<Rc<Realm>>>,
    deadline: Rc<Cell<Option<Instant>>>,
    reserve: RefCell<Vec<u8>>,
}

thread_local! {
    // What is never dropped needs no list of things to drop.
    static ENGINE: ManuallyDrop<RefCell<Option<Rc<Engine>>>> = const { ManuallyDrop::new(RefCell::new(None)) };
}

impl Engine {
    /// The engine of this instance.
    pub fn get() -> Rc<Self> {
        ENGINE.with(|engine| engine.borrow_mut().get_or_insert_with(|| Rc::new(Self::new())).clone())
    }

    /// Compiles a library, for engines that load it.
    pub(crate) fn compile(source: &str) -> Result<Vec<u8>, String> {
        Self::get().realm().compile(source)
    }

    /// Makes the engine with a realm in which compiled libraries are loaded.
    pub(crate) fn prepare(libraries: Vec<Vec<u8>>) -> Result<(), String> {
        #[cfg(target_family = "wasm")]
        crate::memory::clear_what_is_freed(true);
        let engine = Self::get();
        let realm = engine.realm();
        for library in libraries {
            realm.load(&library)?;
        }
        engine.runtime.run_gc();
        // What is there now stays: to look through it for garbage would take longer than most calls do.
        engine.runtime.set_gc_threshold(engine.runtime.memory_usage().malloc_size as usize + GARBAGE_BYTES);
        #[cfg(target_family = "wasm")]
        crate::memory::clear_what_is_freed(false);
        Ok(())
    }

    fn new() -> Self {
        let runtime = Runtime::new_with_alloc(RustAllocator).expect("there is memory for a runtime");
        runtime.set_memory_limit(MEMORY_BYTES_MAX);
        runtime.set_max_stack_size(STACK_BYTES_MAX);
        let deadline = Rc::new(Cell::new(None::<Instant>));
        let until = deadline.clone();
        runtime.set_interrupt_handler(Some(Box::new(move || until.get().is_some_and(|until| Instant::now() >= until))));
        Self { runtime, realm: RefCell::new(None), deadline, reserve: RefCell::new(Vec::with_capacity(RESERVE_BYTES)) }
    }

    /// The realm with the libraries, for calls that leave nothing behind.
    pub fn realm(&self) -> Rc<Realm> {
        self.realm.borrow_mut().get_or_insert_with(|| Rc::new(Realm::new(&self.runtime))).clone()
    }

    /// A realm that nobody has used, for a call that may leave anything behind.
    pub fn fresh_realm(&self) -> Rc<Realm> {
        let prepared = self.realm.borrow_mut().take();
        prepared.unwrap_or_else(|| Rc::new(Realm::new(&self.runtime)))
    }

    /// Does something that is to end in time; afterwards everything in the engine fails until it gives up.
    pub fn within<T>(&self, time: Duration, work: impl FnOnce() -> Result<T, Thrown>) -> Result<T, Thrown> {
        self.deadline.set(Instant::now().checked_add(time));
        let result = work().map_err(|thrown| if self.is_late() { Thrown::timed_out() } else { thrown });
        self.deadline.set(None);
        result
    }

    /// Calls a function that a library left in the global object, with JSON, and gives what it returned, as JSON. It ends in time for the component to say that it
    /// did not.
    pub fn call(&self, function: &str, arguments: &[&str]) -> Result<String, Thrown> {
        self.within(CALL_MAX, || self.realm().call(function, arguments))
    }

    /// Whether the time is over that the caller gave.
    pub(crate) fn is_late(&self) -> bool {
        self.deadline.get().is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Gives up the reserve, to have room for an answer.
    pub(crate) fn use_reserve(&self) {
        drop(self.reserve.take());
    }
}
