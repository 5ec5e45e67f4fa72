//! The shop's pages: one file per part of the shop, one function per route.
#![expect(
    clippy::unnecessary_wraps,
    reason = "every route has one signature, whether or not it can fail"
)]

mod cart;
mod catalogue;
mod checkout;
mod configurator;
mod customer;
mod home;
mod info;
mod orders;
mod product;
mod refused;
mod wishlist;

pub(super) use cart::{add_to_cart, cart, remove_from_cart, update_cart};
pub(super) use catalogue::{category, search};
pub(super) use checkout::{checkout, confirm, place_order, post_checkout, thanks};
pub(super) use configurator::{add_configured, configurator, options};
pub(super) use customer::{
    account, address, login, post_account, post_address, post_login, post_logout, signin_link,
};
pub(super) use home::home;
pub(super) use info::{about, contact, deal, deals, help, help_topic, post_contact, promo};
pub(super) use orders::{order, orders};
pub(super) use product::{post_review, product};
pub(super) use refused::refusal;
pub(super) use wishlist::{unwish, wish, wishlist};
