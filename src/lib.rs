//! tallygate: a rate-limit decision service for Envoy.
//!
//! # The life of a request
//!
//! **receive** (decoded as a view over its bytes) → **snapshot** (the rules of one generation; the clock, read once) →
//! **match** (pure: each descriptor gets its rule) → **charge** (the store, the only step that may wait: all limits checked,
//! then all charged, or none) → **decide** (pure) → **render** (pure) → **tell** (metrics, a line in the log now and then,
//! the span where it is traced).
//!
//! # Layers
//!
//! Each module imports only from layers below its own; modules of one layer never import each other, except
//! those behind a semicolon the ones before it. A test holds the source against this table.
//!
//! | layer | modules |
//! |---|---|
//! | 12 | cli |
//! | 11 | app, compare |
//! | 10 | serve_http; grpc, http, admin, debug |
//! | 9 | orders, usage; decide, explain, reload |
//! | 8 | live |
//! | 7 | health |
//! | 6 | store, config |
//! | 5 | clock, huge_pages, pem, store_address, telemetry, text; tls_client; trace |
//! | 4 | render |
//! | 3 | decision |
//! | 2 | rules, charge |
//! | 1 | limit |
//! | 0 | units; bounds, request, spelling |

// Layers 0 to 4: the pure core.
pub mod bounds;
pub mod charge;
pub mod decision;
pub mod limit;
pub mod render;
pub mod request;
pub mod rules;
pub mod spelling;
pub mod units;

// The counters in memory, which the core's benches and model checks need too.
pub mod store;

// The shell.
#[cfg(feature = "serve")]
pub mod admin;
#[cfg(feature = "serve")]
pub mod app;
#[cfg(feature = "serve")]
pub mod cli;
#[cfg(feature = "serve")]
pub mod clock;
#[cfg(feature = "serve")]
pub mod compare;
#[cfg(feature = "serve")]
pub mod config;
#[cfg(feature = "serve")]
pub mod debug;
#[cfg(feature = "serve")]
pub mod decide;
#[cfg(feature = "serve")]
pub mod explain;
#[cfg(feature = "serve")]
pub mod grpc;
#[cfg(feature = "serve")]
pub mod health;
#[cfg(feature = "serve")]
pub mod http;
#[cfg(feature = "serve")]
pub mod huge_pages;
#[cfg(feature = "serve")]
pub mod live;
#[cfg(feature = "serve")]
pub mod orders;
#[cfg(feature = "serve")]
pub mod pem;
#[cfg(feature = "serve")]
pub mod reload;
#[cfg(feature = "serve")]
pub mod serve_http;
#[cfg(feature = "serve")]
pub mod store_address;
#[cfg(feature = "serve")]
pub mod telemetry;
#[cfg(feature = "serve")]
pub mod text;
#[cfg(feature = "serve")]
pub mod tls_client;
#[cfg(feature = "serve")]
pub mod trace;
#[cfg(feature = "serve")]
pub mod usage;
