//! What compiling a component would take, judged by counting, before anything is compiled.
//!
//! It takes one pass over the file and no memory to speak of. What it lets pass may still be costly; the compiler's bounds are for that.

use wasmparser::{BinaryReaderError, FunctionBody, Operator, Parser, Payload};

use super::inspect::Refusal;
use crate::limits::{
    COMPONENT_DEPTH_MAX, COMPONENT_EXPORTS_MAX, COMPONENT_FUNCTIONS_MAX, COMPONENT_GLOBALS_MAX, COMPONENT_IMPORTS_MAX,
    COMPONENT_INSTANCES_MAX, COMPONENT_MODULES_MAX, COMPONENT_SEGMENTS_MAX, COMPONENT_TYPES_MAX, FUNCTION_BODY_BYTES_MAX,
    FUNCTION_LOCALS_MAX, FUNCTION_NESTING_MAX,
};

/// How much there is of everything that costs, in a whole component with all that is nested in it.
#[derive(Default)]
struct Effort {
    functions: usize,
    types: usize,
    imports: usize,
    exports: usize,
    globals: usize,
    segments: usize,
    instances: usize,
    modules: usize,
}

impl Effort {
    fn check(&self) -> Result<(), Refusal> {
        let counts = [
            (self.functions, COMPONENT_FUNCTIONS_MAX, "functions"),
            (self.types, COMPONENT_TYPES_MAX, "types"),
            (self.imports, COMPONENT_IMPORTS_MAX, "imports"),
            (self.exports, COMPONENT_EXPORTS_MAX, "exports"),
            (self.globals, COMPONENT_GLOBALS_MAX, "globals"),
            (self.segments, COMPONENT_SEGMENTS_MAX, "segments of data and elements"),
            (self.instances, COMPONENT_INSTANCES_MAX, "instances"),
            (self.modules, COMPONENT_MODULES_MAX, "modules and components within it"),
        ];
        counts.into_iter().try_for_each(|(found, max, what)| bound(found, max, || format!("{found} {what}"), what))
    }
}

fn bound(found: usize, max: usize, has: impl FnOnce() -> String, what: &str) -> Result<(), Refusal> {
    if found <= max { Ok(()) } else { Err(Refusal::TooComplex(format!("{}; at most {max} {what}", has()))) }
}

/// Refuses a component that would take a compiler too long. Whether it is valid is not asked.
pub(super) fn weigh(bytes: &[u8]) -> Result<(), Refusal> {
    let malformed = |error: BinaryReaderError| Refusal::Malformed(error.to_string());
    let mut effort = Effort::default();
    let (mut depth, mut function) = (0, 0_usize);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(malformed)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                effort.modules += 1;
                depth += 1;
                bound(depth, COMPONENT_DEPTH_MAX, || format!("components nested {depth} deep"), "levels")?;
            }
            // The outermost component has an end, too.
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::TypeSection(section) => effort.types += section.count() as usize,
            Payload::CoreTypeSection(section) => effort.types += section.count() as usize,
            Payload::ComponentTypeSection(section) => effort.types += section.count() as usize,
            Payload::ImportSection(section) => effort.imports += section.count() as usize,
            Payload::ComponentImportSection(section) => effort.imports += section.count() as usize,
            Payload::ExportSection(section) => effort.exports += section.count() as usize,
            // An alias makes something of an instance known, as an export does.
            Payload::ComponentExportSection(section) => effort.exports += section.count() as usize,
            Payload::ComponentAliasSection(section) => effort.exports += section.count() as usize,
            Payload::GlobalSection(section) => effort.globals += section.count() as usize,
            Payload::ElementSection(section) => effort.segments += section.count() as usize,
            Payload::DataSection(section) => effort.segments += section.count() as usize,
            Payload::InstanceSection(section) => effort.instances += section.count() as usize,
            Payload::ComponentInstanceSection(section) => effort.instances += section.count() as usize,
            Payload::FunctionSection(section) => effort.functions += section.count() as usize,
            // A function that is lifted or lowered becomes machine code of its own.
            Payload::ComponentCanonicalSection(section) => effort.functions += section.count() as usize,
            Payload::CodeSectionEntry(body) => {
                weigh_function(&body, function)?;
                function += 1;
            }
            _ => {}
        }
        effort.check()?;
    }
    Ok(())
}

fn weigh_function(body: &FunctionBody<'_>, function: usize) -> Result<(), Refusal> {
    let malformed = |error: BinaryReaderError| Refusal::Malformed(error.to_string());
    let bytes = body.range().len();
    bound(bytes, FUNCTION_BODY_BYTES_MAX, || format!("function {function} with {bytes} bytes"), "bytes of one")?;
    let mut locals = 0_usize;
    for declared in body.get_locals_reader().map_err(malformed)? {
        locals += declared.map_err(malformed)?.0 as usize;
        bound(locals, FUNCTION_LOCALS_MAX, || format!("function {function} with {locals} locals"), "locals of one")?;
    }
    let mut nesting = 0_usize;
    for operator in body.get_operators_reader().map_err(malformed)? {
        match operator.map_err(malformed)? {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } | Operator::TryTable { .. } => nesting += 1,
            Operator::End => nesting = nesting.saturating_sub(1),
            _ => continue,
        }
        bound(nesting, FUNCTION_NESTING_MAX, || format!("function {function} with blocks nested {nesting} deep"), "levels")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        weigh(&wat::parse_str(text).unwrap()).expect_err("too much").to_string()
    }

    #[test]
    fn each_bound_is_kept() {
        let body = |code: &str| format!("(component (core module (func {code})))");
        let many = |what: &str, count: usize| format!("(component (core module {}))", what.repeat(count));
        let nested = FUNCTION_NESTING_MAX + 1;
        let locals = format!("(local {})", "i32 ".repeat(FUNCTION_LOCALS_MAX + 1));
        let depth = COMPONENT_DEPTH_MAX + 1;
        let cases = [
            (many("(func)", COMPONENT_FUNCTIONS_MAX + 1), "functions"),
            (many("(type (func))", COMPONENT_TYPES_MAX + 1), "types"),
            (many("(import \"a\" \"b\" (func))", COMPONENT_IMPORTS_MAX + 1), "imports"),
            (many("(global i32 (i32.const 0))", COMPONENT_GLOBALS_MAX + 1), "globals"),
            (many("(data \"a\")", COMPONENT_SEGMENTS_MAX + 1), "segments"),
            (format!("(component {})", "(core module)".repeat(COMPONENT_MODULES_MAX + 1)), "modules"),
            (
                format!(
                    "(component (core module $m) {})",
                    "(core instance (instantiate $m))".repeat(COMPONENT_INSTANCES_MAX + 1)
                ),
                "instances",
            ),
            (format!("{}{}", "(component ".repeat(depth + 1), ")".repeat(depth + 1)), "nested"),
            (body(&"nop ".repeat(FUNCTION_BODY_BYTES_MAX)), "bytes of one"),
            (body(&locals), "locals"),
            (body(&format!("{}{}", "block ".repeat(nested), "end ".repeat(nested))), "nested"),
        ];
        for (text, part) in cases {
            let said = said(&text);
            assert!(said.contains(part), "{part}: {said}");
        }
    }

    #[test]
    fn the_plugins_of_this_host_are_far_from_them() {
        for (name, bytes) in crate::built_in::PLUGINS {
            weigh(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert!(weigh(&wat::parse_str("(component (core module (func (block (nop)))))").unwrap()).is_ok());
    }
}
