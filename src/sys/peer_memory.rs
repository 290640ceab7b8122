//! Reading the memory of another process: one copy instead of two, where the kernel allows it.

use std::io;

/// Copies bytes of another process's memory. All or nothing is promised of the result, not of what
/// `into` holds after an error.
///
/// # Errors
///
/// When the process is gone, the address is not mapped there, or this process may not read it.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn read_process(pid: u32, address: u64, into: &mut [u8]) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let address = usize::try_from(address).map_err(io::Error::other)?;
    let mut done = 0;
    while done < into.len() {
        let rest = &mut into[done..];
        let local = libc::iovec {
            iov_base: rest.as_mut_ptr().cast(),
            iov_len: rest.len(),
        };
        let remote = libc::iovec {
            iov_base: (address + done) as *mut libc::c_void,
            iov_len: rest.len(),
        };
        // SAFETY: one entry each; the local one describes `rest`, which is ours to write. The remote
        // address is only interpreted by the kernel, in the other process, where a wrong one is an
        // error and not an access.
        let read =
            unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
        match usize::try_from(read) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => done += count,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// Not on this operating system.
///
/// # Errors
///
/// Always.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn read_process(_pid: u32, _address: u64, _into: &mut [u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Allows a process and its descendants to read this one's memory, where a security module (Yama)
/// asks for such a permission. Without that module it changes nothing.
pub fn allow_reading_by(pid: u32) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(pid) = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        let tracer = rustix::process::PTracer::ProcessID(pid);
        if let Err(error) = rustix::process::set_ptracer(tracer) {
            tracing::debug!(%error, "no permission to be read can be given");
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = pid;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_is_and_what_cannot_is_an_error() {
        let bytes: Vec<u8> = (0..10_000).map(|i| i as u8).collect();
        let mut into = vec![0; bytes.len()];
        let me = std::process::id();
        read_process(me, bytes.as_ptr() as u64, &mut into).expect("this process");
        assert!(bytes == into);
        assert!(
            read_process(me, 8, &mut into).is_err(),
            "nothing is mapped there"
        );
    }
}
