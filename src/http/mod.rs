//! The front door: routes, headers, status codes, JSON.
