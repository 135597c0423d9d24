//! When to sign a checkpoint, and what happens when signing fails.
//!
//! A [`Session`] is told of each save. It looks at the files ([`Checkpoint`]), writes a record to the [`Spool`], and
//! hands the checkpoint to a thread of its own, which hashes, signs, verifies and publishes. What became of it is an
//! [`Event`]. Training sees nothing of this unless its owner asked for `MODEL_SIGNING_ON_ERROR=raise`.

mod by_hand;
mod chain;
mod checkpoint;
mod config;
mod config_file;
mod copies;
pub mod doctor;
mod emptied;
mod error;
mod event;
mod folder_times;
mod jobs;
mod kept;
mod keyless;
mod last_seen;
mod layers;
mod left_strays;
mod life;
mod lock;
mod log;
mod place;
mod private_key;
mod published;
mod publishing;
mod removals;
mod route;
mod run;
mod scattered;
mod selection;
mod session;
mod settings;
mod show;
mod sign_job;
mod signing;
mod spool;
mod strays;
#[cfg(test)]
mod testing;
mod thread;
mod told;
mod trust_policy;
mod value;
mod values;
mod worker;

pub use autosign_signing::{Environment, HashedFile, NewFile, WrittenFile};
pub use by_hand::ByHand;
pub use chain::{Chain, Link, chains};
pub use checkpoint::Checkpoint;
pub use config::{Config, LogFormat, LogLevel, Method, Mode, OnError};
pub use doctor::{Examination, Installed, Report};
pub use error::Error;
pub use event::{Event, Listener, PUBLIC_LOG};
pub use keyless::{Instance, Keyless, RateLimit, TrustFiles, refuse_trust_in};
pub use last_seen::{LastSeen, verify};
pub use layers::Settings;
pub use log::{Sink, listener, standard_streams, warn};
pub use place::{Rank, host};
pub use private_key::PrivateKey;
pub use run::saved;
pub use selection::Selection;
pub use session::{Saved, Session, Status, Ticket};
pub use settings::{SETTINGS, Setting, every_setting};
pub use spool::{Record, Spool, Spooled};
pub use trust_policy::{Judgement, TrustPolicy};
pub use value::{Origin, Value};
pub use values::{duration, run_name};
