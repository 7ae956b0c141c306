// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatRepository

extension DamageCase {
    /// Manifests that rotted, went away or are not what their names say.
    package static let snapshots: [DamageCase] = [
        DamageCase(
            "a byte of the first manifest is flipped",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (13, 0, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 0, 0), backedUp: 13, salvage: 3, salvaged: (1, 0, 0)))
        ) {
            try $0.flip($0.manifest(.first))
            return [$0.manifest(.first)]
        },
        DamageCase(
            "a byte of the newest manifest is flipped",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 13, 0), backedUp: 13, salvage: 3, salvaged: (0, 1, 0)))
        ) {
            try $0.flip($0.manifest(.third))
            return [$0.manifest(.third)]
        },
        DamageCase(
            "a byte of the only manifest of a stack is flipped",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 13), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 13), backedUp: 13, salvage: 3, salvaged: (0, 0, 1)))
        ) {
            try $0.flip($0.manifest(.notes))
            return [$0.manifest(.notes)]
        },
        DamageCase(
            "a manifest is cut",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (13, 0, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 0, 0), backedUp: 13, salvage: 3, salvaged: (1, 0, 0)))
        ) {
            try $0.truncate($0.manifest(.first), to: 100)
            return [$0.manifest(.first)]
        },
        DamageCase(
            "a manifest is empty",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 13, 0), backedUp: 13, salvage: 3, salvaged: (0, 1, 0)))
        ) {
            try $0.write([], $0.manifest(.third))
            return [$0.manifest(.third)]
        },
        DamageCase(
            "the newest manifest is missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 1, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 1, 0), backedUp: 13, salvage: 3, salvaged: (0, 1, 0)))
        ) {
            try $0.remove($0.manifest(.third))
            return []
        },
        DamageCase(
            "the manifest in the middle is missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 0), backedUp: 13, salvage: 3, salvaged: (0, 0, 0)))
        ) {
            try $0.remove($0.manifest(.second))
            return []
        },
        DamageCase(
            "all manifests are missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 1, restore: (1, 1, 1), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (1, 1, 1), backedUp: 13, salvage: 3, salvaged: (1, 1, 1)))
        ) {
            for moment in SoundRepository.Moment.allCases { try $0.remove($0.manifest(moment)) }
            return []
        },
        DamageCase(
            "two manifests changed places",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (13, 0, 13), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 0, 13), backedUp: 13, salvage: 3, salvaged: (1, 0, 1)))
        ) {
            try $0.swap($0.manifest(.first), $0.manifest(.notes))
            return [$0.manifest(.first), $0.manifest(.notes)]
        },
        DamageCase(
            "a manifest lies in the folder of another stack",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 13), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            let name = $0.manifest(.notes).replacing("snapshots/notes/", with: "snapshots/files/")
            try $0.rename($0.manifest(.notes), to: name)
            return [name]
        },
        DamageCase(
            "a manifest has the time of another one in its name",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 13), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            let name = $0.manifest(.notes).replacing(#/\d{8}T\d{6}Z/#, with: "20200101T000000Z")
            try $0.rename($0.manifest(.notes), to: name)
            try $0.rename("\($0.manifest(.notes)).minisig", to: "\(name).minisig")
            return [name]
        },
        DamageCase(
            "a manifest of another repository came here",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 0), backedUp: 13, salvage: 3, salvaged: (0, 0, 0)))
        ) {
            let id = try $0.open().config.repositoryID.hex
            let other = String(decoding: try $0.bytes($0.manifest(.notes)), as: UTF8.self)
                .replacing(id, with: String(id.reversed()))
            return [try $0.addManifest(Array(other.utf8), like: .notes)]
        },
        DamageCase(
            "a manifest with the right digest is no JSON",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 0), backedUp: 13, salvage: 3, salvaged: (0, 0, 0)))
        ) {
            [try $0.addManifest(Array("not JSON\n".utf8), like: .notes)]
        },
        DamageCase(
            "a manifest is of a newer format",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 0), backedUp: 13, salvage: 13, salvaged: (0, 0, 0)))
        ) {
            let newer = String(decoding: try $0.bytes($0.manifest(.notes)), as: UTF8.self)
                .replacing("\"format\" : 1", with: "\"format\" : 2")
            return [try $0.addManifest(Array(newer.utf8), like: .notes)]
        },
        DamageCase(
            "a manifest refers to a content that was never stored",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 0), backedUp: 13, salvage: 3, salvaged: (0, 0, 0)))
        ) {
            let id = try $0.content(nil, in: .notes).id.hex
            let other = String(decoding: try $0.bytes($0.manifest(.notes)), as: UTF8.self)
                .replacing(id, with: String(id.reversed()))
                .replacing("\"sequence\" : 1", with: "\"sequence\" : 2")
            _ = try $0.addManifest(Array(other.utf8), like: .notes)
            return ["it is in no index"]
        },
        DamageCase(
            "the signature of the first manifest is missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (13, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.remove("\($0.manifest(.first)).minisig")
            return [$0.manifest(.first)]
        },
        DamageCase(
            "the signature of the newest manifest is flipped",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 13, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            try $0.flip("\($0.manifest(.third)).minisig")
            return [$0.manifest(.third)]
        },
        DamageCase(
            "all signatures of manifests are missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (13, 13, 13), plan: 13, repair: 0,
                after: .whole((0, 0, 0)))
        ) {
            for moment in SoundRepository.Moment.allCases { try $0.remove("\($0.manifest(moment)).minisig") }
            return SoundRepository.Moment.allCases.map($0.manifest)
        },
        DamageCase(
            "a manifest was forged",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 0), backedUp: 13, salvage: 3, salvaged: (0, 0, 0)))
        ) {
            let other = String(decoding: try $0.bytes($0.manifest(.notes)), as: UTF8.self)
                .replacing("/notes\"", with: "/other\"")
            let name = try $0.addManifest(Array(other.utf8), like: .notes)
            // The signature of another one.
            try $0.write($0.bytes("\($0.manifest(.notes)).minisig"), "\(name).minisig")
            return [name]
        },
        DamageCase(
            "a file that is no manifest lies among the manifests",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 0), backedUp: 13, salvage: 3, salvaged: (0, 0, 0)))
        ) {
            try $0.write(Array("a note\n".utf8), "snapshots/files/README")
            return []
        },
    ]
}

extension DamagedRepository {
    /// Stores a signed manifest under the name its bytes ask for, beside the one of `moment`.
    func addManifest(_ bytes: [UInt8], like moment: SoundRepository.Moment) throws -> String {
        let old = manifest(moment)
        let name = old.replacing(sound[moment].id.shortHex, with: BLAKE3.hash(bytes).shortHex)
        try write(bytes, name)
        guard let key = try HostTrust(state: "\(path)/state").signingKey() else { throw LifeboatError("no key") }
        let signature = try bytes.withUnsafeBytes { try key.sign($0, trustedComment: "made by a test") }
        try write(signature, "\(name).minisig")
        return name
    }
}
