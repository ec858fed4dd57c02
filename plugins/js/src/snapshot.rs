//! Making the engine when a plugin is built: every instance begins with it, in the memory that it was left in.
//!
//! `cargo xtask build` has one instance compile the libraries, and another one, whose memory never held their sources, load them. It keeps the component with the
//! memory of the latter and without these exports (`host/snapshot`). A component that was not treated so makes the engine when it is first used, and has no
//! libraries.

#[expect(unsafe_code, reason = "bindgen")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package weft:build;
            world snapshot {
                /// Compiles a script.
                export compile-library: func(source: string) -> result<list<u8>, string>;
                /// Makes the engine. `libraries` are compiled scripts, run in order.
                export initialize-snapshot: func(libraries: list<list<u8>>) -> result<_, string>;
            }
        ",
        generate_all,
    });

    struct Snapshot;

    impl Guest for Snapshot {
        fn compile_library(source: String) -> Result<Vec<u8>, String> {
            crate::Engine::compile(&source)
        }

        fn initialize_snapshot(libraries: Vec<Vec<u8>>) -> Result<(), String> {
            crate::Engine::prepare(libraries)
        }
    }

    export!(Snapshot);
}
