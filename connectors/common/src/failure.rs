//! Why a connection failed, found however deep the error that says it is wrapped.
//!
//! Must never take a failure of the network for one of a certificate: the first mends itself.

use std::error::Error;
use std::io;

use tidings_connector::ErrorClass;

use crate::{Blocked, Verdict};

/// The first error of type `E` in a chain of errors.
pub fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error shows what it carries by `get_ref`; its `source` skips it.
        let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match carried {
            Some(carried) => Some(carried),
            None => error.source(),
        };
    }
    None
}

/// What an error means that holds one of TLS or of our own guard of addresses; `None` if it holds neither.
pub fn judge(error: &(dyn Error + 'static)) -> Option<Verdict> {
    use rustls::Error as Tls;
    let Some(tls) = find::<Tls>(error) else {
        return find::<Blocked>(error).map(|_| Verdict::Fault(ErrorClass::Unroutable));
    };
    Some(match tls {
        Tls::InvalidCertificate(_)
        | Tls::NoCertificatesPresented
        | Tls::UnsupportedNameType
        | Tls::InvalidCertRevocationList(_)
        | Tls::PeerIncompatible(_)
        | Tls::NoApplicationProtocol
        | Tls::AlertReceived(_) => Verdict::Fault(ErrorClass::Tls),
        _ => Verdict::Retry(ErrorClass::Tls),
    })
}

/// What an I/O error means that a connection met.
pub fn judge_io(error: &io::Error) -> Verdict {
    judge(error).unwrap_or(match error.kind() {
        io::ErrorKind::TimedOut => Verdict::Retry(ErrorClass::Timeout),
        _ => Verdict::Retry(ErrorClass::Connect),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{AlertDescription, CertificateError, OtherError};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    const FAULT: Option<Verdict> = Some(Verdict::Fault(ErrorClass::Tls));
    const RETRY: Option<Verdict> = Some(Verdict::Retry(ErrorClass::Tls));

    #[test]
    fn certificates_fault_and_other_tls_failures_do_not_however_deep() {
        let bad = || rustls::Error::InvalidCertificate(CertificateError::Expired);
        assert_eq!(judge(&bad()), FAULT);
        assert_eq!(judge(&Outer(io::Error::other(io::Error::other(bad())))), FAULT);
        assert_eq!(judge(&rustls::Error::AlertReceived(AlertDescription::CertificateRequired)), FAULT);
        let other = CertificateError::Other(OtherError(Arc::new(io::Error::other("x"))));
        assert_eq!(judge(&rustls::Error::InvalidCertificate(other)), FAULT);
        assert_eq!(judge(&Outer(io::Error::other(rustls::Error::DecryptError))), RETRY);
        assert_eq!(judge(&Outer(io::ErrorKind::ConnectionReset.into())), None);
    }

    #[test]
    fn what_is_not_of_tls_is_of_the_network() {
        assert_eq!(Some(judge_io(&io::Error::other(rustls::Error::DecryptError))), RETRY);
        assert_eq!(judge_io(&io::ErrorKind::TimedOut.into()), Verdict::Retry(ErrorClass::Timeout));
        for error in [io::ErrorKind::ConnectionRefused.into(), io::Error::other("something else")] {
            assert_eq!(judge_io(&error), Verdict::Retry(ErrorClass::Connect), "{error}");
        }
    }
}
