//! Calls of the tokens that deals are paid with: ERC-20, and the wrapping of native tokens.

use super::Call;
use crate::{Address, U256, abi};

macro_rules! calls {
    ($($(#[$meta:meta])* $name:ident $abi_name:literal {
        $( $(#[$field_meta:meta])* $field:ident : $type:ty, )*
    } -> $output:ty;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name { $( $(#[$field_meta])* pub $field: $type, )* }

        abi::named_fields!($name { $($field : $type,)* });

        impl Call for $name {
            const NAME: &'static str = $abi_name;
            type Output = $output;
        }
    )*};
}

calls! {
    /// Lets an account move tokens of the caller.
    Approve "approve" {
        /// The account.
        spender: Address,
        /// How many it may move.
        value: U256,
    } -> (bool,);
    /// Gives tokens of the caller away.
    TransferTokens "transfer" {
        /// Who gets them.
        to: Address,
        /// How many.
        value: U256,
    } -> (bool,);
    /// Moves tokens that were approved.
    TransferFrom "transferFrom" {
        /// Whose tokens.
        from: Address,
        /// Who gets them.
        to: Address,
        /// How many.
        value: U256,
    } -> (bool,);
    /// Wraps the native tokens that come with the call.
    Wrap "deposit" {} -> ();
    /// Turns wrapped tokens back.
    Unwrap "withdraw" {
        /// How many.
        value: U256,
    } -> ();
    /// Reads what an account has.
    BalanceOf "balanceOf" {
        /// The account.
        account: Address,
    } -> (U256,);
    /// Reads what an account may move of another.
    Allowance "allowance" {
        /// Whose tokens.
        owner: Address,
        /// Who may move them.
        spender: Address,
    } -> (U256,);
    /// Reads how many tokens there are.
    TotalSupply "totalSupply" {} -> (U256,);
}
