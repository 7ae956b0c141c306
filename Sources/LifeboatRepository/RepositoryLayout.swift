// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatStorage

/// Where every object of a repository is: the one place that knows the names of docs/repository-format.md.
package enum RepositoryLayout {
    package static let readme = key("README.txt")
    package static let config = key("config.json")
    package static let packPrefix = "packs/"
    package static let indexPrefix = "index/"
    package static let snapshotPrefix = "snapshots/"
    package static let keyPrefix = "keys/"
    package static let pinPrefix = "pins/"
    /// Records of pins that were taken away.
    package static let unpinnedPrefix = "unpinned/"
    package static let forgottenPrefix = "forgotten/"
    package static let drillPrefix = "drills/"
    package static let leasePrefix = "leases/"

    /// What a repair took out of use, each object under the name it had.
    package static let damagedPrefix = "damaged/"
    /// Lists of packs that will be deleted.
    package static let condemnedPrefix = "condemned/"

    private static let packSuffix = ".tar.zst"
    private static let indexSuffix = ".idx"
    private static let manifestSuffix = ".json"
    package static let signatureSuffix = ".minisig"

    /// `packs/ab/ab34….tar.zst`
    package static func pack(_ name: Digest) -> ObjectKey {
        let hex = name.hex
        return key("\(packPrefix)\(hex.prefix(2))/\(hex)\(packSuffix)")
    }

    /// `index/cd12….idx`
    package static func index(_ name: Digest) -> ObjectKey { key("\(indexPrefix)\(name.hex)\(indexSuffix)") }

    /// `snapshots/<stack>/20261121T020000Z-<12 digits>.json`
    package static func manifest(stack: String, time: Timestamp, id: Digest) -> ObjectKey {
        key("\(snapshotPrefix)\(stack)/\(time.compact)-\(id.shortHex)\(manifestSuffix)")
    }

    /// `damaged/packs/ab/ab34….tar.zst`; nil when the name would be too long.
    package static func damaged(_ object: ObjectKey) -> ObjectKey? { ObjectKey(damagedPrefix + object.text) }

    /// `keys/<12 digits of the digest of its bytes>.age`: an identity wrapped with a passphrase.
    package static func wrappedIdentity(_ bytes: Digest) -> ObjectKey {
        key("\(keyPrefix)\(bytes.shortHex).age")
    }

    /// The 12 digits in the name of a wrapped identity; nil for other objects.
    package static func wrappedIdentityName(_ object: ObjectKey) -> String? {
        let text = object.text
        guard text.hasPrefix(keyPrefix), text.hasSuffix(".age"), recoveryKeyName(object) == nil else { return nil }
        return String(text.dropFirst(keyPrefix.utf8.count).dropLast(4))
    }

    /// `keys/recovery-<12 digits of the digest of its bytes>.age`: the recovery key, for the recipients.
    package static func recoveryKey(_ bytes: Digest) -> ObjectKey {
        key("\(keyPrefix)\(recoveryInfix)\(bytes.shortHex).age")
    }

    /// The 12 digits in the name of a recovery key; nil for other objects.
    package static func recoveryKeyName(_ object: ObjectKey) -> String? {
        let text = object.text
        guard text.hasPrefix(keyPrefix + recoveryInfix), text.hasSuffix(".age") else { return nil }
        return String(text.dropFirst(keyPrefix.utf8.count + recoveryInfix.utf8.count).dropLast(4))
    }

    private static let recoveryInfix = "recovery-"

    /// `keys/config-<12 digits>.minisig`: the signature of the config.json of that digest. Named by what it signs, so
    /// that it can be stored before config.json is replaced.
    package static func configSignature(_ config: Digest) -> ObjectKey {
        key("\(keyPrefix)config-\(config.shortHex)\(signatureSuffix)")
    }

    /// The signature of a stored object.
    package static func signature(of stored: ObjectKey) -> ObjectKey { key(stored.text + signatureSuffix) }

    package static func isSignature(_ object: ObjectKey) -> Bool { object.text.hasSuffix(signatureSuffix) }

    /// The digest in the name of a pack; nil when it is not the name of one.
    package static func packName(_ object: ObjectKey) -> Digest? {
        // `ab/ab34…`: 2 digits, a slash, 64 digits.
        guard let middle = middle(of: object, packPrefix, packSuffix), middle.count == 67,
            middle.dropFirst(2).first == UInt8(ascii: "/"),
            middle.prefix(2).elementsEqual(middle.dropFirst(3).prefix(2))
        else { return nil }
        return Digest(hex: Substring(middle.dropFirst(3)))
    }

    /// The digest in the name of an index; nil when it is not the name of one.
    package static func indexName(_ object: ObjectKey) -> Digest? {
        middle(of: object, indexPrefix, indexSuffix).flatMap { Digest(hex: Substring($0)) }
    }

    /// What is between the two; nil when they are not there. On bytes: it is asked of every object of a listing.
    private static func middle(of object: ObjectKey, _ prefix: String, _ suffix: String) -> Substring.UTF8View? {
        let text = object.text.utf8
        guard text.count >= prefix.utf8.count + suffix.utf8.count, text.starts(with: prefix.utf8),
            text.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
        else { return nil }
        return text.dropFirst(prefix.utf8.count).dropLast(suffix.utf8.count)
    }

    /// Stack and short id in the name of a manifest; nil when it is not the name of one.
    package static func manifestName(_ object: ObjectKey) -> (stack: String, shortID: String)? {
        stackAndShortID(object, prefix: snapshotPrefix)
    }

    /// The time in the name of a manifest, of a list of forgotten snapshots or of a drill's result; nil where there is
    /// none.
    package static func time(of object: ObjectKey) -> Timestamp? {
        guard let name = object.text.split(separator: "/").last?.prefix(16), name.utf8.count == 16 else { return nil }
        let text = Array(name)
        // `20261121T020000Z`, which is RFC 3339 without its separators.
        return Timestamp(
            parsing: String(text[..<4]) + "-" + String(text[4..<6]) + "-" + String(text[6..<11]) + ":"
                + String(text[11..<13]) + ":" + String(text[13...]))
    }

    private static func stackAndShortID(
        _ object: ObjectKey, prefix: String
    ) -> (stack: String, shortID: String)? {
        guard object.text.hasPrefix(prefix), object.text.hasSuffix(manifestSuffix) else { return nil }
        let parts = object.text.dropFirst(prefix.count).dropLast(manifestSuffix.count).split(separator: "/")
        guard parts.count == 2, let dash = parts[1].lastIndex(of: "-") else { return nil }
        let shortID = parts[1][parts[1].index(after: dash)...]
        guard shortID.count == 12 else { return nil }
        return (String(parts[0]), String(shortID))
    }

    /// `pins/<stack>/<64 digits>.json`
    package static func pin(stack: String, snapshot: Digest) -> ObjectKey {
        key("\(pinPrefix)\(stack)/\(snapshot.hex)\(manifestSuffix)")
    }

    /// Stack and snapshot in the name of a pin; nil when it is not the name of one.
    package static func pinName(_ object: ObjectKey) -> (stack: String, snapshot: Digest)? {
        guard object.text.hasPrefix(pinPrefix), object.text.hasSuffix(manifestSuffix) else { return nil }
        let parts = object.text.dropFirst(pinPrefix.count).dropLast(manifestSuffix.count).split(separator: "/")
        guard parts.count == 2, let snapshot = Digest(hex: parts[1]) else { return nil }
        return (String(parts[0]), snapshot)
    }

    /// `unpinned/<stack>/<64 digits of the snapshot>-<64 digits of the pin>.json`
    package static func unpinning(stack: String, _ reference: PinReference) -> ObjectKey {
        key("\(unpinnedPrefix)\(stack)/\(reference.snapshot.hex)-\(reference.pin.hex)\(manifestSuffix)")
    }

    /// Stack and pin in the name of a record of an unpinned snapshot; nil when it is not the name of one.
    package static func unpinningName(_ object: ObjectKey) -> (stack: String, reference: PinReference)? {
        guard object.text.hasPrefix(unpinnedPrefix), object.text.hasSuffix(manifestSuffix) else { return nil }
        let parts = object.text.dropFirst(unpinnedPrefix.count).dropLast(manifestSuffix.count).split(separator: "/")
        guard parts.count == 2 else { return nil }
        let digits = parts[1].split(separator: "-", omittingEmptySubsequences: false)
        guard digits.count == 2, let snapshot = Digest(hex: digits[0]), let pin = Digest(hex: digits[1]) else {
            return nil
        }
        return (String(parts[0]), PinReference(snapshot: snapshot, pin: pin))
    }

    /// `forgotten/<stack>/20261121T020000Z-<12 digits>.json`
    package static func forgotten(stack: String, time: Timestamp, id: Digest) -> ObjectKey {
        key("\(forgottenPrefix)\(stack)/\(time.compact)-\(id.shortHex)\(manifestSuffix)")
    }

    /// Stack and short id in the name of a list of forgotten snapshots; nil when it is not the name of one.
    package static func forgottenName(_ object: ObjectKey) -> (stack: String, shortID: String)? {
        stackAndShortID(object, prefix: forgottenPrefix)
    }

    /// `drills/<stack>/20261121T020000Z-<12 digits>.json`
    package static func drill(stack: String, time: Timestamp, id: Digest) -> ObjectKey {
        key("\(drillPrefix)\(stack)/\(time.compact)-\(id.shortHex)\(manifestSuffix)")
    }

    /// Stack and short id in the name of a drill's result; nil when it is not the name of one.
    package static func drillName(_ object: ObjectKey) -> (stack: String, shortID: String)? {
        stackAndShortID(object, prefix: drillPrefix)
    }

    /// One of the objects of a lease: `leases/<32 digits>.json`
    package static func lease(_ id: LeaseID, _ part: LeasePart) -> ObjectKey {
        key("\(leasePrefix)\(id.text).\(part.rawValue)")
    }

    /// The lease an object belongs to, and as what; nil when it is not the name of one.
    package static func leaseName(_ object: ObjectKey) -> (id: LeaseID, part: LeasePart)? {
        guard object.text.hasPrefix(leasePrefix) else { return nil }
        let parts = object.text.dropFirst(leasePrefix.count).split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let id = LeaseID(String(parts[0])), let part = LeasePart(rawValue: String(parts[1]))
        else { return nil }
        return (id, part)
    }

    /// `condemned/<64 digits of the pack>`: an empty object.
    package static func condemned(_ pack: Digest) -> ObjectKey { key("\(condemnedPrefix)\(pack.hex)") }

    /// The pack in the name of a mark of condemnation; nil when it is not the name of one.
    package static func condemnedName(_ object: ObjectKey) -> Digest? {
        guard object.text.hasPrefix(condemnedPrefix) else { return nil }
        return Digest(hex: object.text.dropFirst(condemnedPrefix.count))
    }

    /// Whether the text can be the name of a stack in a key.
    static func isStackName(_ text: String) -> Bool {
        !text.contains("/") && text.utf8.count <= 255 && ObjectKey("\(snapshotPrefix)\(text)") != nil
    }

    /// For texts made of valid components only.
    private static func key(_ text: String) -> ObjectKey {
        guard let key = ObjectKey(text) else { preconditionFailure("not an object key: \(text)") }
        return key
    }
}

extension RepositoryLayout {
    /// Whether `name` can stand for a stack: it becomes a folder of the repository.
    package static func isValidStackName(_ name: String) -> Bool {
        guard (1...64).contains(name.utf8.count), let first = name.utf8.first else { return false }
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        return isAlphanumeric(first)
            && name.utf8.allSatisfy { isAlphanumeric($0) || $0 == 0x2E || $0 == 0x5F || $0 == 0x2D }
    }
}
