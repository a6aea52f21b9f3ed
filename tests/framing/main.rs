//! What each framer makes of bytes: the tables of the law row by row, one suite for all, a slow
//! twin of each as oracle, and what it costs. The same parts feed `tests/fuzz`.

mod cost;
mod drive;
mod http;
mod make;
mod suite;
mod tables;
mod twins;
mod websocket;
