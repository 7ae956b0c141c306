// SPDX-License-Identifier: Apache-2.0

import CLinux

extension DescriptorIO {
    /// Tells the kernel to begin writing what is dirty of the file to the disk now, and does not wait for it: a later
    /// fsync or syncfs, which also reports failures, finds less to do. Where that is not possible nothing happens.
    package static func startWriting(_ descriptor: Int32) { _ = lifeboat_start_writing(descriptor) }
}
