//! Takes an exported function out of a component.

use wasm_encoder::reencode::{Error, Reencode, ReencodeComponent, component_utils};
use wasm_encoder::{Component, ComponentExportSection, ComponentSectionId, RawSection};
use wasmparser::{BinaryReaderError, CanonicalFunction, ComponentAlias, ComponentExport, ComponentExternalKind, Parser, Payload};
use wasmtime::{Result, bail};

/// The component without that export.
pub(crate) fn remove(wasm: &[u8], name: &str) -> Result<Vec<u8>> {
    let mut remover = Remover { name, functions: 0, removed: None };
    let mut component = wasm_encoder::Component::new();
    if let Err(error) = remover.parse_component(&mut component, Parser::new(0), wasm) {
        bail!("the component cannot be written again: {error}");
    }
    if remover.removed.is_none() {
        bail!("the component does not export `{name}`");
    }
    let result = component.finish();
    wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all()).validate_all(&result)?;
    Ok(result)
}

/// An export makes a further function of the component's; without it those after have lower numbers.
struct Remover<'a> {
    name: &'a str,
    functions: u32,
    removed: Option<u32>,
}

impl Remover<'_> {
    /// How many functions a section adds to the component's own.
    fn count(payload: &Payload<'_>) -> Result<u32, BinaryReaderError> {
        let is_function = |kind: ComponentExternalKind| u32::from(kind == ComponentExternalKind::Func);
        match payload {
            Payload::ComponentImportSection(imports) => {
                imports.clone().into_iter().map(|import| Ok(is_function(import?.ty.kind()))).sum()
            }
            Payload::ComponentAliasSection(aliases) => {
                let count = |alias| match alias {
                    ComponentAlias::InstanceExport { kind, .. } => is_function(kind),
                    _ => 0,
                };
                aliases.clone().into_iter().map(|alias| Ok(count(alias?))).sum()
            }
            Payload::ComponentCanonicalSection(functions) => {
                let count = |function| u32::from(matches!(function, CanonicalFunction::Lift { .. }));
                functions.clone().into_iter().map(|function| Ok(count(function?))).sum()
            }
            // Exports are counted one by one.
            _ => Ok(0),
        }
    }
}

impl Reencode for Remover<'_> {
    type Error = std::convert::Infallible;
}

type Outcome = Result<(), Error<std::convert::Infallible>>;

impl ReencodeComponent for Remover<'_> {
    fn component_func_index(&mut self, index: u32) -> u32 {
        index - u32::from(self.removed.is_some_and(|removed| index > removed))
    }

    fn parse_component_payload(&mut self, component: &mut Component, payload: Payload<'_>, whole: &[u8]) -> Outcome {
        let added = Self::count(&payload)?;
        component_utils::parse_component_payload(self, component, payload, whole)?;
        self.functions += added;
        Ok(())
    }

    fn parse_component_export(&mut self, exports: &mut ComponentExportSection, export: ComponentExport<'_>) -> Outcome {
        if export.name.name == self.name && export.kind == ComponentExternalKind::Func {
            // The numbers are those that were read: an export that is left out has one, too.
            self.removed = Some(self.functions);
            self.functions += 1;
        } else {
            let is_function = export.kind == ComponentExternalKind::Func;
            component_utils::parse_component_export(self, exports, export)?;
            self.functions += u32::from(is_function);
        }
        Ok(())
    }

    // What is within is of its own numbers.

    fn parse_component_submodule(&mut self, component: &mut Component, _: Parser, module: &[u8]) -> Outcome {
        component.section(&RawSection { id: ComponentSectionId::CoreModule as u8, data: module });
        Ok(())
    }

    fn parse_component_subcomponent(&mut self, component: &mut Component, _: Parser, inner: &[u8], _: &[u8]) -> Outcome {
        component.section(&RawSection { id: ComponentSectionId::Component as u8, data: inner });
        Ok(())
    }
}
