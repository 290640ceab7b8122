//! Reading and writing the memory of another process: one copy instead of two, where the kernel allows it.

use std::io;

#[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
use libc::{process_vm_readv, process_vm_writev};
#[cfg(miri)]
use twin::{process_vm_readv, process_vm_writev};

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
    let length = into.len();
    copy_all(length, |done| {
        let rest = &mut into[done..];
        let local = libc::iovec {
            iov_base: rest.as_mut_ptr().cast(),
            iov_len: rest.len(),
        };
        let remote = libc::iovec {
            iov_base: address.wrapping_add(done) as *mut libc::c_void,
            iov_len: rest.len(),
        };
        // SAFETY: one entry each; the local one describes `rest`, which is ours to write. The remote
        // address is only interpreted by the kernel, in the other process, where a wrong one is an
        // error and not an access.
        unsafe { process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) }
    })
}

/// Lets `copy` go on from where it has ended, until so many bytes are copied.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn copy_all(length: usize, mut copy: impl FnMut(usize) -> isize) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        match usize::try_from(copy(done)) {
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

/// Copies bytes of this process into another one's memory. All or nothing is promised of the result, not of what
/// lies there after an error.
///
/// # Errors
///
/// When the process is gone, either address is not mapped, or this process may not write there.
///
/// # Safety
///
/// Whoever owns the memory there has lent it to the caller until this returns. The memory here may be
/// anything.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub unsafe fn write_process(pid: u32, into: u64, from: u64, length: u64) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let number = |value: u64| usize::try_from(value).map_err(io::Error::other);
    let (into, from, length) = (number(into)?, number(from)?, number(length)?);
    copy_all(length, |done| {
        let entry = |base: usize| libc::iovec {
            iov_base: base.wrapping_add(done) as *mut libc::c_void,
            iov_len: length - done,
        };
        let (local, remote) = (entry(from), entry(into));
        // SAFETY: one entry each. The kernel reads here and writes there, where a wrong address is an error
        // and not an access; that memory is lent to the caller.
        unsafe { process_vm_writev(pid, &raw const local, 1, &raw const remote, 1, 0) }
    })
}

/// Not on this operating system.
///
/// # Errors
///
/// Always.
///
/// # Safety
///
/// It does nothing.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub unsafe fn write_process(_pid: u32, _into: u64, _from: u64, _length: u64) -> io::Result<()> {
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

/// What the kernel does, between threads: Miri knows no other processes.
#[cfg(miri)]
mod twin {
    use libc::{c_ulong, iovec, pid_t};

    /// # Safety
    ///
    /// Both describe memory of this process, which nobody writes, or nobody else touches, meanwhile.
    pub(super) unsafe fn process_vm_readv(
        _: pid_t,
        local: *const iovec,
        _: c_ulong,
        remote: *const iovec,
        _: c_ulong,
        _: c_ulong,
    ) -> isize {
        // SAFETY: as above.
        let (from, into) = unsafe { (&*remote, &*local) };
        if [from, into].iter().any(|it| it.iov_base.addr() < 4096) {
            // SAFETY: it is this thread's.
            unsafe { *libc::__errno_location() = libc::EFAULT };
            return -1; // Nothing is ever mapped there.
        }
        // SAFETY: as above.
        unsafe {
            std::ptr::copy(
                from.iov_base.cast::<u8>(),
                into.iov_base.cast(),
                into.iov_len,
            )
        };
        into.iov_len as isize
    }

    /// # Safety
    ///
    /// As for `process_vm_readv`.
    pub(super) unsafe fn process_vm_writev(
        pid: pid_t,
        local: *const iovec,
        count: c_ulong,
        remote: *const iovec,
        others: c_ulong,
        flags: c_ulong,
    ) -> isize {
        // SAFETY: as above.
        unsafe { process_vm_readv(pid, remote, others, local, count, flags) }
    }
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
        let nothing = read_process(me, 8, &mut into);
        assert!(nothing.is_err(), "nothing is mapped there");
    }

    #[test]
    fn what_can_be_written_is_and_what_cannot_is_an_error() {
        let bytes: Vec<u8> = (0..10_000).map(|i| i as u8).collect();
        let mut into = vec![0; bytes.len()];
        let (me, from) = (std::process::id(), bytes.as_ptr() as u64);
        let place = into.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: it is ours, and nobody looks at it meanwhile.
        unsafe { write_process(me, place, from, 10_000) }.expect("this process");
        assert!(bytes == into);
        // SAFETY: nothing is there.
        let nowhere = unsafe { write_process(me, 8, from, 10_000) };
        assert!(nowhere.is_err(), "nothing is mapped there");
        // SAFETY: it is ours; what would be read is not there.
        let nothing = unsafe { write_process(me, place, 8, 10_000) };
        assert!(nothing.is_err(), "nothing is mapped there");
    }
}
