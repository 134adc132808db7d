//! The token that wraps the native one, as far as deals need it.

use std::collections::BTreeMap;

use super::{
    Exec, Refusal,
    exec::{message, require},
};
use crate::{
    Address, U256,
    contract::{Approval, Deposit, Transfer, Withdrawal},
};

/// Balances and allowances of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Token {
    balances: BTreeMap<Address, U256>,
    allowances: BTreeMap<(Address, Address), U256>,
}

impl Token {
    pub(super) fn balance(&self, account: Address) -> U256 {
        self.balances.get(&account).copied().unwrap_or_default()
    }

    pub(super) fn allowance(&self, owner: Address, spender: Address) -> U256 {
        let allowance = self.allowances.get(&(owner, spender));
        allowance.copied().unwrap_or_default()
    }

    /// All tokens that exist.
    pub(super) fn supply(&self) -> U256 {
        let add = |sum: U256, balance| sum.saturating_add(balance);
        self.balances.values().copied().fold(U256::ZERO, add)
    }

    /// Cannot overflow: every token wraps a native one.
    fn credit(&mut self, account: Address, amount: U256) {
        let balance = self.balances.entry(account).or_default();
        *balance = balance.saturating_add(amount);
    }

    fn debit(&mut self, account: Address, amount: U256) -> Result<(), Refusal> {
        let balance = self.balances.entry(account).or_default();
        *balance = balance
            .checked_sub(amount)
            .ok_or_else(|| message("Insufficient balance"))?;
        Ok(())
    }
}

impl Exec<'_> {
    pub(super) fn token(&mut self, token: Address) -> Result<&mut Token, Refusal> {
        self.state.tokens.get_mut(&token).ok_or(Refusal::Silent)
    }

    /// Wraps the native tokens that came with the call.
    pub(super) fn wrap(
        &mut self,
        token: Address,
        owner: Address,
        amount: U256,
    ) -> Result<(), Refusal> {
        self.token(token)?.credit(owner, amount);
        self.log(
            token,
            Deposit {
                dst: owner,
                wad: amount,
            },
        );
        Ok(())
    }

    /// Turns wrapped tokens back.
    pub(super) fn unwrap(
        &mut self,
        token: Address,
        owner: Address,
        amount: U256,
    ) -> Result<(), Refusal> {
        self.token(token)?.debit(owner, amount)?;
        self.move_native(token, owner, amount)?;
        self.log(
            token,
            Withdrawal {
                src: owner,
                wad: amount,
            },
        );
        Ok(())
    }

    pub(super) fn approve(
        &mut self,
        token: Address,
        owner: Address,
        spender: Address,
        value: U256,
    ) -> Result<(), Refusal> {
        self.token(token)?
            .allowances
            .insert((owner, spender), value);
        self.log(
            token,
            Approval {
                owner,
                spender,
                value,
            },
        );
        Ok(())
    }

    pub(super) fn transfer(
        &mut self,
        token: Address,
        from: Address,
        to: Address,
        value: U256,
    ) -> Result<(), Refusal> {
        let state = self.token(token)?;
        state.debit(from, value)?;
        state.credit(to, value);
        self.log(token, Transfer { from, to, value });
        Ok(())
    }

    /// A transfer by another account, within what the owner allowed; the greatest allowance never
    /// shrinks.
    pub(super) fn transfer_by(
        &mut self,
        token: Address,
        spender: Address,
        from: Address,
        to: Address,
        value: U256,
    ) -> Result<(), Refusal> {
        let state = self.token(token)?;
        require(state.balance(from) >= value, "Insufficient balance")?;
        let allowance = state.allowance(from, spender);
        if from != spender && allowance != U256::MAX {
            let rest = allowance
                .checked_sub(value)
                .ok_or_else(|| message("Insufficient allowance"))?;
            state.allowances.insert((from, spender), rest);
        }
        self.transfer(token, from, to, value)
    }
}
