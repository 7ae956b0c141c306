// SPDX-License-Identifier: Apache-2.0

/// An age file being read, opened from its first bytes; any range of its content can be decrypted from the blocks that
/// cover it. Thread-safe. The payload's key is wiped when the last copy goes away.
package struct AgeReader: Sendable {
    /// Where the blocks begin in the file: bytes of header and nonce.
    package let payloadOffset: Int
    let payloadKey: SecretBytes

    /// The most that has to be read for `init(start:keys:)`. A few hundred bytes a recipient suffice.
    package static var maximumStart: Int { AgeHeader.maximumCount + AgePayload.nonceSize }

    /// Opens the file that begins with `start`: at least the header and 16 bytes more, `needMore` otherwise. What else
    /// is there is not looked at. Throws `noMatch` when none of `keys` fits, `hmac` when one does but the header was
    /// changed. A passphrase costs time and memory, see `AgeWriter`.
    package init(start: UnsafeRawBufferPointer, keys: [AgeKey]) throws(AgeError) {
        let header = try unsafe AgeHeader(parsing: start)
        payloadOffset = header.count + AgePayload.nonceSize
        guard start.count >= payloadOffset else { throw .needMore }
        let fileKey = try Self.fileKey(header, keys)
        let covered = unsafe UnsafeRawBufferPointer(rebasing: start[..<header.coveredCount])
        let headerKey = try FileKey.headerKey(fileKey)
        let mac: [UInt8]
        do {
            mac = try unsafe LibCrypto.hmac(headerKey, covered)
        } catch {
            throw .library(error)
        }
        guard LibCrypto.equal(mac, header.mac) else { throw .hmac }
        payloadKey = try FileKey.payloadKey(fileKey, nonce: unsafe Array(start[header.count..<payloadOffset]))
    }

    private static func fileKey(_ header: AgeHeader, _ keys: [AgeKey]) throws(AgeError) -> SecretBytes {
        // A passphrase alone authenticates the file to whoever knows it; beside other recipients it would not.
        if header.stanzas.count > 1, header.stanzas.contains(where: { $0.type == ScryptStanza.type }) {
            throw .header("a passphrase recipient in the header is not the only one")
        }
        for key in keys {
            for stanza in header.stanzas {
                let fileKey: SecretBytes?
                switch key {
                case .identity(let identity) where stanza.type == X25519Stanza.type:
                    fileKey = try X25519Stanza.unwrap(stanza, identity)
                case .passphrase(let passphrase) where stanza.type == ScryptStanza.type:
                    fileKey = try ScryptStanza.unwrap(stanza, passphrase)
                default: fileKey = nil
                }
                if let fileKey { return fileKey }
            }
        }
        throw .noMatch
    }

    /// Plain bytes of the file when it has `storedSize` bytes. Throws `truncated` for sizes that no age file with this
    /// header has. A size that is possible but wrong shows when the last block is opened.
    package func plainSize(storedSize: UInt64) throws(AgeError) -> UInt64 {
        try layout(storedSize).plainSize
    }

    /// Where in the file the blocks lie that cover `plain`, as absolute positions. Throws `truncated` when the range
    /// reaches beyond the end. Empty for an empty range, except that the only block of an empty file has to be read
    /// to know that it is one.
    package func storedRange(of plain: Range<UInt64>, storedSize: UInt64) throws(AgeError) -> Range<UInt64> {
        let layout = try layout(storedSize)
        try Self.check(plain, layout)
        let range = layout.sealedRange(of: layout.blocks(of: plain))
        return range.lowerBound + UInt64(payloadOffset)..<range.upperBound + UInt64(payloadOffset)
    }

    /// Decrypts `stored`, which holds exactly `storedRange(of: plain, …)`, and writes the bytes of `plain` to the start
    /// of `target`. Throws `payload` or `truncated` when a block is not what was written; `target` holds nothing of it
    /// then.
    package func open(
        _ stored: UnsafeRawBufferPointer, plain: Range<UInt64>, storedSize: UInt64,
        into target: UnsafeMutableRawBufferPointer
    ) throws(AgeError) {
        let layout = try layout(storedSize)
        try Self.check(plain, layout)
        let blocks = layout.blocks(of: plain)
        let range = layout.sealedRange(of: blocks)
        guard UInt64(stored.count) == range.upperBound - range.lowerBound else {
            throw .truncated("\(stored.count) bytes were read where its blocks have \(range.count)")
        }
        precondition(UInt64(target.count) >= plain.upperBound - plain.lowerBound, "the target holds the plain range")
        guard !blocks.isEmpty else { return }
        let opener = try AgeBlockOpener(payloadKey)
        for block in blocks {
            // Within `stored`, whose size is an Int: these fit.
            let start = Int(block - blocks.lowerBound) * AgePayload.sealedBlockSize
            let end = min(start + AgePayload.sealedBlockSize, stored.count)
            let sealed = unsafe UnsafeRawBufferPointer(rebasing: stored[start..<end])
            let content = layout.plainRange(of: block)
            let wanted = content.clamped(to: plain)
            let offset = Int(wanted.lowerBound - plain.lowerBound)
            do {
                if wanted == content {
                    let part = unsafe target[offset..<offset + Int(content.upperBound - content.lowerBound)]
                    try unsafe opener.open(
                        sealed, block, isLast: layout.isLast(block), into: UnsafeMutableRawBufferPointer(rebasing: part)
                    )
                } else {
                    let scratch = try unsafe opener.openScratch(sealed, block, isLast: layout.isLast(block))
                    let first = Int(wanted.lowerBound - content.lowerBound)
                    let part = unsafe scratch[first..<first + Int(wanted.upperBound - wanted.lowerBound)]
                    unsafe UnsafeMutableRawBufferPointer(rebasing: target[offset...])
                        .copyMemory(from: UnsafeRawBufferPointer(rebasing: part))
                }
            } catch {
                unsafe wipe(UnsafeMutableRawBufferPointer(rebasing: target[..<offset]))
                throw error
            }
        }
    }

    private func layout(_ storedSize: UInt64) throws(AgeError) -> AgePayload.Layout {
        guard storedSize >= UInt64(payloadOffset),
            let layout = AgePayload.Layout(sealedSize: storedSize - UInt64(payloadOffset))
        else { throw .truncated("no complete age file has \(storedSize) bytes") }
        return layout
    }

    private static func check(_ plain: Range<UInt64>, _ layout: AgePayload.Layout) throws(AgeError) {
        guard plain.upperBound <= layout.plainSize else {
            throw .truncated("its content ends at \(layout.plainSize), before \(plain.upperBound)")
        }
    }
}
