//! Whether two modules mean the same by a function.

use std::collections::HashSet;

use crate::{
    itypes::IType,
    module::{Function, InterfaceSection},
};

/// Types of two modules by structure: names and ids may differ.
pub(super) struct Shapes<'a> {
    left: &'a InterfaceSection,
    right: &'a InterfaceSection,
    /// Pairs of records that are equal or being compared: records share parts, and comparing each
    /// occurrence again could take forever.
    compared: HashSet<(u32, u32)>,
}

impl<'a> Shapes<'a> {
    pub(super) fn new(left: &'a InterfaceSection, right: &'a InterfaceSection) -> Self {
        Self {
            left,
            right,
            compared: HashSet::new(),
        }
    }

    /// Says how two functions differ.
    pub(super) fn functions(&mut self, left: &Function, right: &Function) -> Result<(), String> {
        if left.arguments.len() != right.arguments.len() {
            return Err(format!(
                "{} arguments instead of {}",
                left.arguments.len(),
                right.arguments.len()
            ));
        }
        if left.outputs.len() != right.outputs.len() {
            return Err(format!(
                "{} outputs instead of {}",
                left.outputs.len(),
                right.outputs.len()
            ));
        }
        let outputs = left.outputs.iter().zip(&right.outputs);
        let arguments = left.arguments.iter().zip(&right.arguments);
        let pairs = arguments
            .map(|(left, right)| (&left.ty, &right.ty))
            .chain(outputs);
        for (left, right) in pairs {
            self.types(left, right)?;
        }
        Ok(())
    }

    /// Without recursion, since nesting is the modules' to choose.
    fn types(&mut self, left: &IType, right: &IType) -> Result<(), String> {
        let mut open = vec![(left.clone(), right.clone())];
        while let Some((left, right)) = open.pop() {
            match (&left, &right) {
                (IType::Array(left), IType::Array(right)) => {
                    open.push(((**left).clone(), (**right).clone()));
                }
                (IType::Array(element), IType::ByteArray)
                | (IType::ByteArray, IType::Array(element))
                    if **element == IType::U8 => {}
                (IType::Record(left_id), IType::Record(right_id)) => {
                    if !self.compared.insert((*left_id, *right_id)) {
                        continue;
                    }
                    let records = self.left.record(*left_id).zip(self.right.record(*right_id));
                    let Some((left, right)) = records else {
                        return Err(format!("records {left_id} and {right_id} are not known"));
                    };
                    if left.fields.len() != right.fields.len() {
                        return Err(format!(
                            "record {} has {} fields, record {} has {}",
                            left.name,
                            left.fields.len(),
                            right.name,
                            right.fields.len()
                        ));
                    }
                    let pairs = left.fields.iter().zip(&right.fields);
                    open.extend(pairs.map(|(left, right)| (left.ty.clone(), right.ty.clone())));
                }
                (left, right) if left == right => {}
                (left, right) => return Err(format!("{left} instead of {right}")),
            }
        }
        Ok(())
    }
}
