// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatIO
import Synchronization

/// A folder below a root and how to reach it again, component by component, whatever the length of its path: no link is
/// passed and no other folder taken for it.
final class TrackedFolder: @unchecked Sendable {
    // Sendable: `parent` changes in deinit only; `descriptor` only under the lock of `cache`.
    private(set) var parent: TrackedFolder?
    /// Path below the root; empty for the root.
    let path: [UInt8]
    /// Name in the parent, ended by a NUL.
    let name: [UInt8]
    /// What was found or made under that name.
    let identity: FileStatus.Identity
    private let cache: FolderCache
    fileprivate var descriptor: FolderDescriptor?

    init(
        parent: TrackedFolder?, path: [UInt8], name: [UInt8], identity: FileStatus.Identity, cache: FolderCache,
        descriptor: FolderDescriptor? = nil
    ) {
        self.parent = parent
        self.path = path
        self.name = name
        self.identity = identity
        self.cache = cache
        self.descriptor = descriptor
    }

    deinit {
        // A chain of thousands of folders must not be released recursively.
        var next = parent.take()
        while next != nil, isKnownUniquelyReferenced(&next) {
            let above = next?.parent.take()
            next = above
        }
    }

    /// The open folder, opened again when the cache had closed it. Throws ESTALE when something else is there now.
    func open() throws(Errno) -> FolderDescriptor {
        try cache.open(self)
    }

    fileprivate func reopen(in parent: FolderDescriptor) throws(Errno) -> FolderDescriptor {
        var failure: Errno?
        let opened = name.withUnsafeBufferPointer { name -> FolderDescriptor? in
            name.withMemoryRebound(to: CChar.self) { name in
                do throws(Errno) {
                    // Never empty: ended by a NUL.
                    return try FolderDescriptor.open(parent.raw, name.baseAddress!)
                } catch {
                    failure = error
                    return nil
                }
            }
        }
        guard let opened else { throw failure ?? Errno(EIO) }
        guard try FileStatus.of(opened.raw).identity == identity else { throw Errno(ESTALE) }
        return opened
    }
}

/// Keeps the folders opened last open, so that a walk needs a bounded number of descriptors at any depth.
final class FolderCache: Sendable {
    private struct Slot {
        // Weak: a folder nobody walks or reads from any more closes by itself.
        weak var folder: TrackedFolder?
    }

    private struct Ring {
        var slots: [Slot]
        var next = 0
    }

    private let ring: Mutex<Ring>

    init(capacity: Int = 256) { ring = Mutex(Ring(slots: Array(repeating: Slot(), count: capacity))) }

    /// Remembers an open folder in place of the one remembered longest.
    func keep(_ descriptor: FolderDescriptor, of folder: TrackedFolder) {
        var closed: FolderDescriptor?
        ring.withLock { ring in
            if let old = ring.slots[ring.next].folder {
                closed = old.descriptor
                old.descriptor = nil
            }
            ring.slots[ring.next].folder = folder
            ring.next = (ring.next + 1) % ring.slots.count
            folder.descriptor = descriptor
        }
        // Closed here, outside the lock, unless someone still uses it.
        _ = consume closed
    }

    fileprivate func open(_ folder: TrackedFolder) throws(Errno) -> FolderDescriptor {
        // The way from the nearest folder that is open down to this one.
        var chain: [TrackedFolder] = []
        var nearest: FolderDescriptor?
        ring.withLock { _ in
            var at: TrackedFolder? = folder
            while let current = at {
                if let descriptor = current.descriptor {
                    nearest = descriptor
                    break
                }
                chain.append(current)
                at = current.parent
            }
        }
        guard var descriptor = nearest else { throw Errno(EBADF) }
        while let current = chain.popLast() {
            descriptor = try current.reopen(in: descriptor)
            keep(descriptor, of: current)
        }
        return descriptor
    }
}
