//! The controller manager: the control loops that bring what is to what should be.
pub mod controllers;
pub mod expectations;
