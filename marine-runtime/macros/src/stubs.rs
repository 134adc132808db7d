//! An interface as Rust items: records, and methods for functions.

use std::collections::BTreeMap;

use marine_runtime::{FunctionSignature, Interface, RecordSignature};
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use crate::{names::Scope, types::rust_type};

/// Names for the records and functions of one interface.
pub(crate) struct Stubs<'a> {
    interface: &'a Interface,
    records: BTreeMap<&'a str, Ident>,
}

/// One function with what its method consists of.
pub(crate) struct Method<'a> {
    /// Its name in the interface.
    pub(crate) function: &'a str,
    /// Its arguments.
    pub(crate) arguments: Vec<Argument>,
    /// What it returns.
    pub(crate) output: TokenStream,
}

/// An argument of a function.
pub(crate) struct Argument {
    pub(crate) name: Ident,
    pub(crate) ty: TokenStream,
    /// Whether it is a text, for which a caller may have a `&str`.
    pub(crate) is_text: bool,
}

impl<'a> Stubs<'a> {
    /// `taken` are names of other items beside the records.
    pub(crate) fn new(interface: &'a Interface, taken: &[&str]) -> Self {
        let mut scope = Scope::with(taken);
        let records = interface.record_types.iter();
        let records = records
            .map(|record| (record.name.as_str(), scope.name(&record.name)))
            .collect();
        Self { interface, records }
    }

    /// The identifier of a record.
    pub(crate) fn record_name(&self, record: &RecordSignature) -> Option<&Ident> {
        self.records.get(record.name.as_str())
    }

    /// A struct for a record, with its conversions.
    pub(crate) fn record(&self, record: &RecordSignature) -> Result<TokenStream, String> {
        let name = &record.name;
        let Some(ident) = self.record_name(record) else {
            return Err(format!("there is no record {name}"));
        };
        let count = record.fields.len();
        let mut scope = Scope::default();
        let (mut definitions, mut names, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for field in &record.fields {
            let field_name = scope.name(&field.name);
            let ty = rust_type(&field.ty, &self.records)
                .map_err(|error| format!("field {} of record {name}: {error}", field.name))?;
            let text = &field.name;
            let rename = (field_name.to_string().trim_start_matches("r#") != text)
                .then(|| quote!(#[serde(rename = #text)]));
            definitions.push(quote!(#rename pub #field_name: #ty));
            names.push(field_name);
            texts.push(text);
        }
        Ok(quote! {
            #[derive(
                ::core::clone::Clone,
                ::core::fmt::Debug,
                ::core::default::Default,
                ::core::cmp::PartialEq,
                ::marine_runtime::typed::serde::Serialize,
                ::marine_runtime::typed::serde::Deserialize,
            )]
            #[serde(crate = "::marine_runtime::typed::serde")]
            pub struct #ident { #(#definitions,)* }

            impl ::marine_runtime::typed::Typed for #ident {
                const NAME: &'static ::core::primitive::str = #name;

                fn into_value(self) -> ::marine_runtime::IValue {
                    ::marine_runtime::IValue::Record(::std::vec![
                        #(::marine_runtime::typed::Typed::into_value(self.#names),)*
                    ])
                }

                fn from_value(
                    value: ::marine_runtime::IValue,
                ) -> ::core::result::Result<Self, ::marine_runtime::typed::Mismatch> {
                    let mut fields = ::marine_runtime::typed::Fields::of(#name, #count, value)?;
                    ::core::result::Result::Ok(Self { #(#names: fields.take(#texts)?,)* })
                }
            }
        })
    }

    /// What the methods for all functions consist of. `taken` are names that arguments cannot have.
    pub(crate) fn methods(&self, taken: &[&str]) -> Result<Vec<Method<'a>>, String> {
        let functions = self.interface.function_signatures.iter();
        functions
            .map(|function| self.method(function, taken))
            .collect()
    }

    fn method(
        &self,
        function: &'a FunctionSignature,
        taken: &[&str],
    ) -> Result<Method<'a>, String> {
        let ty = |text: &str| {
            rust_type(text, &self.records)
                .map_err(|error| format!("function {}: {error}", function.name))
        };
        let mut scope = Scope::with(taken);
        let mut arguments = Vec::with_capacity(function.arguments.len());
        for (name, text) in &function.arguments {
            arguments.push(Argument {
                name: scope.name(name),
                ty: ty(text)?,
                is_text: text == "string",
            });
        }
        let output = match function.output_types.as_slice() {
            [] => quote!(()),
            [output] => ty(output)?,
            _ => return Err(format!("function {} has several results", function.name)),
        };
        Ok(Method {
            function: &function.name,
            arguments,
            output,
        })
    }

    /// The module with a client that `bindings!` makes.
    pub(crate) fn client(&self) -> Result<TokenStream, String> {
        let records = self
            .interface
            .record_types
            .iter()
            .map(|record| self.record(record))
            .collect::<Result<Vec<_>, _>>()?;
        let interface = serde_json::to_string(self.interface).map_err(|error| error.to_string())?;
        let methods = self.methods(&[])?;
        let constructor = methods
            .iter()
            .all(|method| method.function != "new")
            .then(|| {
                quote! {
                    /// A client of `service`.
                    ///
                    /// # Errors
                    /// The first difference between the service's interface and the one that was compiled in.
                    pub fn new(
                        service: ::marine_runtime::Service,
                    ) -> ::core::result::Result<Self, ::marine_runtime::typed::TypedError> {
                        ::core::convert::TryFrom::try_from(service)
                    }
                }
            });
        let mut scope = Scope::default();
        let methods = methods.iter().map(|method| {
            let name = scope.name(method.function);
            let function = method.function;
            let output = &method.output;
            let parameters = method
                .arguments
                .iter()
                .map(|Argument { name, ty, is_text }| {
                    if *is_text {
                        quote!(#name: impl ::core::convert::Into<#ty>)
                    } else {
                        quote!(#name: #ty)
                    }
                });
            let values = method
                .arguments
                .iter()
                .map(|Argument { name, ty, is_text }| {
                    let value = if *is_text {
                        quote!(::core::convert::Into::<#ty>::into(#name))
                    } else {
                        quote!(#name)
                    };
                    quote!(::marine_runtime::typed::Typed::into_value(#value))
                });
            let text = format!("Calls `{function}`.");
            quote! {
                #[doc = #text]
                ///
                /// # Errors
                /// A call that failed, a result of another type.
                pub fn #name(
                    &mut self,
                    #(#parameters,)*
                ) -> ::core::result::Result<#output, ::marine_runtime::typed::TypedError> {
                    self.0.call(#function, &[#(#values,)*])
                }
            }
        });
        Ok(quote! {
            /// The interface that was compiled in, as JSON.
            pub const INTERFACE: &::core::primitive::str = #interface;

            /// A service with this interface.
            #[derive(::core::fmt::Debug)]
            pub struct Client(::marine_runtime::typed::Caller);

            impl Client {
                #constructor
                #(#methods)*
            }

            impl ::core::convert::TryFrom<::marine_runtime::Service> for Client {
                type Error = ::marine_runtime::typed::TypedError;

                fn try_from(
                    service: ::marine_runtime::Service,
                ) -> ::core::result::Result<Self, ::marine_runtime::typed::TypedError> {
                    ::marine_runtime::typed::Caller::new(service, INTERFACE).map(Self)
                }
            }

            impl ::core::ops::Deref for Client {
                type Target = ::marine_runtime::typed::Caller;

                fn deref(&self) -> &::marine_runtime::typed::Caller {
                    &self.0
                }
            }

            impl ::core::ops::DerefMut for Client {
                fn deref_mut(&mut self) -> &mut ::marine_runtime::typed::Caller {
                    &mut self.0
                }
            }

            #(#records)*
        })
    }

    /// `ModuleInterface` with two methods for each function of the module `module`: what `#[marine_test]` passes to
    /// tests.
    pub(crate) fn module_interface(&self, module: &str) -> Result<TokenStream, String> {
        let mut scope = Scope::with(&["new", "new_cp"]);
        let methods = self.methods(&["cp"])?;
        let methods = methods
            .iter()
            .map(|method| self.pair_of_methods(method, &mut scope, module, &quote!(self.service)));
        Ok(quote! {
            /// The functions of the module. Its clones are the same module.
            #[derive(::core::clone::Clone, ::core::fmt::Debug)]
            pub struct ModuleInterface {
                service: ::marine_runtime::testing::TestService,
            }

            impl ModuleInterface {
                /// The module in a service.
                #[must_use]
                pub fn new(service: &::marine_runtime::testing::TestService) -> Self {
                    Self { service: ::core::clone::Clone::clone(service) }
                }

                #(#methods)*
            }
        })
    }

    /// `f` and `f_cp`.
    pub(crate) fn pair_of_methods(
        &self,
        method: &Method<'_>,
        scope: &mut Scope,
        module: &str,
        service: &TokenStream,
    ) -> TokenStream {
        let function = method.function;
        let name = scope.name(function);
        let with_parameters = scope.name(&format!("{function}_cp"));
        let output = &method.output;
        let names: Vec<_> = method
            .arguments
            .iter()
            .map(|argument| &argument.name)
            .collect();
        let types: Vec<_> = method
            .arguments
            .iter()
            .map(|argument| &argument.ty)
            .collect();
        let cp = format_ident!("cp");
        quote! {
            pub fn #name(&mut self, #(#names: #types,)*) -> #output {
                self.#with_parameters(#(#names,)* ::core::default::Default::default())
            }

            pub fn #with_parameters(
                &mut self,
                #(#names: #types,)*
                #cp: ::marine_runtime::CallParameters,
            ) -> #output {
                #service.call(
                    #module,
                    #function,
                    &[#(::marine_runtime::typed::Typed::into_value(#names),)*],
                    &#cp,
                )
            }
        }
    }
}

/// The lints that generated code need not follow.
pub(crate) fn generated() -> TokenStream {
    quote! {
        #[allow(
            clippy::all,
            clippy::pedantic,
            dead_code,
            missing_docs,
            non_camel_case_types,
            non_snake_case,
            unreachable_pub,
            unused_imports,
            unused_qualifications,
            reason = "generated: names are those of the interface"
        )]
    }
}
