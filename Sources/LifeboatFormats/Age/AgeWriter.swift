// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// One age file being written: `header`, then the sealed payload, under a fresh file key that nobody keeps.
///
/// Either `seal` once, or `update` any number of times and `finish`. Used on one thread at a time.
@safe
package final class AgeWriter {
    /// The start of the file: the text header and the 16-byte nonce of the payload.
    package let header: [UInt8]
    private let cipher: ChaCha20Poly1305
    private var block: UInt64 = 0
    private var finished = false
    /// Bytes that wait for more: whether a block is the last one must be known when it is sealed.
    private let held: UnsafeMutableRawBufferPointer
    private var heldCount = 0

    /// For everyone who holds an identity of one of `recipients`, of which there is at least one. `tag` goes into the
    /// header as it is (`AgeReaders`): printable ASCII without spaces.
    package convenience init(recipients: [AgeRecipient], tag: String? = nil) throws(AgeError) {
        guard !recipients.isEmpty else { throw .key("no recipient to encrypt for") }
        let fileKey = try AgeError.wrapping(try LibCrypto.randomSecret(FileKey.count))
        var stanzas: [AgeHeader.Stanza] = []
        for recipient in recipients { stanzas.append(try X25519Stanza.wrap(fileKey, for: recipient)) }
        if let tag { stanzas.append(AgeReaders.stanza(tag)) }
        try self.init(fileKey, stanzas)
    }

    /// For everyone who knows `passphrase`. `workFactor` is 1...22: each step doubles time and memory, for the writer,
    /// every reader and whoever guesses; 18 takes 256 MiB and about a second.
    package convenience init(passphrase: Secret, workFactor: Int = 18) throws(AgeError) {
        let fileKey = try AgeError.wrapping(try LibCrypto.randomSecret(FileKey.count))
        try self.init(fileKey, [try ScryptStanza.wrap(fileKey, passphrase, workFactor: workFactor)])
    }

    private init(_ fileKey: SecretBytes, _ stanzas: [AgeHeader.Stanza]) throws(AgeError) {
        let covered = AgeHeader.covered(stanzas)
        let headerKey = try FileKey.headerKey(fileKey)
        let mac = try AgeError.wrapping(try LibCrypto.hmac(headerKey, covered))
        let text = covered + AgeHeader.macLine(mac)
        guard text.count <= AgeHeader.maximumCount else { throw .unsupported("too many recipients for one age file") }
        let nonce = try AgeError.wrapping(try LibCrypto.random(AgePayload.nonceSize))
        let key = try FileKey.payloadKey(fileKey, nonce: nonce)
        header = text + nonce
        cipher = try AgeError.wrapping(try ChaCha20Poly1305(key, seals: true))
        unsafe held = .allocate(byteCount: AgePayload.blockSize, alignment: 64)
    }

    deinit { unsafe held.deallocate() }

    /// Bytes that follow the header for a payload of `plain` bytes.
    package static func sealedPayloadSize(_ plain: Int) -> Int { AgePayload.sealedSize(plain) }

    /// The most that `update` writes when it is given `count` bytes now.
    package func updateSize(_ count: Int) -> Int { AgePayload.sealedSize(heldCount + count) }

    /// The most that `finish` writes.
    package static var finishSize: Int { AgePayload.sealedBlockSize }

    /// Seals `plain` as the whole payload into `target`, which has room for `sealedPayloadSize(plain.count)`. Returns
    /// that. The two do not overlap.
    package func seal(
        _ plain: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
    ) throws(AgeError) -> Int {
        try unsafe seal([plain], into: target)
    }

    /// Seals the pieces, one after the other, as the whole payload.
    package func seal(
        _ pieces: [UnsafeRawBufferPointer], into target: UnsafeMutableRawBufferPointer
    ) throws(AgeError) -> Int {
        var written = 0
        for index in unsafe pieces.indices {
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: target[written...])
            written += try unsafe update(pieces[index], into: rest)
        }
        return try unsafe written + finish(into: UnsafeMutableRawBufferPointer(rebasing: target[written...]))
    }

    /// Takes the next bytes and writes those blocks that are complete and not the last to `target`, which has room for
    /// `updateSize(plain.count)`. Returns the bytes written; at most one block stays in memory.
    package func update(
        _ plain: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
    ) throws(AgeError) -> Int {
        precondition(!finished, "an age file is written once")
        var written = 0
        var position = 0
        while position < plain.count {
            // More follows, so what is held is not the last block.
            if heldCount == AgePayload.blockSize {
                written += try unsafe sealBlock(UnsafeRawBufferPointer(held), false, target, written)
                heldCount = 0
            }
            let rest = unsafe UnsafeRawBufferPointer(rebasing: plain[position...])
            if heldCount == 0, rest.count > AgePayload.blockSize {
                let block = unsafe UnsafeRawBufferPointer(rebasing: rest[..<AgePayload.blockSize])
                written += try unsafe sealBlock(block, false, target, written)
                position += AgePayload.blockSize
            } else {
                let count = min(rest.count, AgePayload.blockSize - heldCount)
                unsafe UnsafeMutableRawBufferPointer(rebasing: held[heldCount...])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: rest[..<count]))
                heldCount += count
                position += count
            }
        }
        return written
    }

    /// Writes the last block to `target`, which has room for `finishSize`. Returns the bytes written.
    package func finish(into target: UnsafeMutableRawBufferPointer) throws(AgeError) -> Int {
        precondition(!finished, "an age file is written once")
        finished = true
        return try unsafe sealBlock(UnsafeRawBufferPointer(rebasing: held[..<heldCount]), true, target, 0)
    }

    private func sealBlock(
        _ plain: UnsafeRawBufferPointer, _ isLast: Bool, _ target: UnsafeMutableRawBufferPointer, _ offset: Int
    ) throws(AgeError) -> Int {
        do {
            try unsafe cipher.seal(
                plain, .init(counter: block, isLast: isLast),
                into: UnsafeMutableRawBufferPointer(rebasing: target[offset...]))
        } catch {
            throw .library(error)
        }
        block += 1
        return plain.count + AgePayload.tagSize
    }
}
