// SPDX-License-Identifier: Apache-2.0
// File system calls that volumes are captured and restored with.
#pragma once

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

enum {
    LIFEBOAT_O_PATH = 010000000,
    LIFEBOAT_O_NOATIME = 01000000,
    LIFEBOAT_SEEK_DATA = 3,
    LIFEBOAT_SEEK_HOLE = 4,
};

/// The parts of statx(2) that a tree keeps.
struct lifeboat_status {
    uint64_t inode, size, blocks;
    int64_t modified_seconds, changed_seconds;
    uint32_t modified_nanoseconds, changed_nanoseconds;
    uint32_t mode, user, group, links;
    uint32_t volume_major, volume_minor, device_major, device_minor;
};

/// statx(2) of `name` in `folder`, never following a link or starting an automount; an empty name is `folder` itself.
static inline int lifeboat_status_at(int folder, const char *name, struct lifeboat_status *status) {
    struct statx from;
    int flags = 0x100 /* AT_SYMLINK_NOFOLLOW */ | 0x800 /* AT_NO_AUTOMOUNT */ | (*name ? 0 : 0x1000 /* AT_EMPTY_PATH */);
    if (syscall(SYS_statx, folder, name, flags, STATX_BASIC_STATS, &from) != 0) return -1;
    status->inode = from.stx_ino;
    status->size = from.stx_size;
    status->blocks = from.stx_blocks;
    status->modified_seconds = from.stx_mtime.tv_sec;
    status->modified_nanoseconds = from.stx_mtime.tv_nsec;
    status->changed_seconds = from.stx_ctime.tv_sec;
    status->changed_nanoseconds = from.stx_ctime.tv_nsec;
    status->mode = from.stx_mode;
    status->user = from.stx_uid;
    status->group = from.stx_gid;
    status->links = from.stx_nlink;
    status->volume_major = from.stx_dev_major;
    status->volume_minor = from.stx_dev_minor;
    status->device_major = from.stx_rdev_major;
    status->device_minor = from.stx_rdev_minor;
    return 0;
}

/// getdents64(2).
static inline long lifeboat_getdents(int folder, void *buffer, size_t size) {
    return syscall(SYS_getdents64, folder, buffer, size);
}

/// openat2(2) that cannot leave `folder` and passes no symbolic link; with `same_volume` no mount point either.
static inline int lifeboat_open_beneath(
    int folder, const char *path, int flags, unsigned int mode, int same_volume) {
    struct open_how how;
    memset(&how, 0, sizeof how);
    how.flags = (uint64_t)(unsigned int)flags;
    how.mode = mode;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    if (same_volume) how.resolve |= RESOLVE_NO_XDEV;
    return (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
}

static inline int lifeboat_get_flags(int descriptor, uint32_t *flags) {
    long value = 0;
    int result = ioctl(descriptor, FS_IOC_GETFLAGS, &value);
    *flags = (uint32_t)value;
    return result;
}

static inline int lifeboat_set_flags(int descriptor, uint32_t flags) {
    long value = (long)flags;
    return ioctl(descriptor, FS_IOC_SETFLAGS, &value);
}

// Starts writing the dirty pages of the whole file (SYNC_FILE_RANGE_WRITE) and does not wait for them.
static inline int lifeboat_start_writing(int descriptor) {
    return (int)syscall(SYS_sync_file_range, descriptor, (int64_t)0, (int64_t)0, 2u);
}

static inline int lifeboat_syncfs(int descriptor) { return (int)syscall(SYS_syncfs, descriptor); }

static inline uint64_t lifeboat_device(uint32_t major_number, uint32_t minor_number) {
    return gnu_dev_makedev(major_number, minor_number);
}
