// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatRepository

extension DamageCase {
    /// Manifests that rotted, went away or are not what their names say.
    package static let snapshots: [DamageCase] = [
        DamageCase("a byte of the first manifest is flipped", .unknown) {
            try $0.flip($0.manifest(.first))
            return [$0.manifest(.first)]
        },
        DamageCase("a byte of the newest manifest is flipped", .unknown) {
            try $0.flip($0.manifest(.third))
            return [$0.manifest(.third)]
        },
        DamageCase("a byte of the only manifest of a stack is flipped", .unknown) {
            try $0.flip($0.manifest(.notes))
            return [$0.manifest(.notes)]
        },
        DamageCase("a manifest is cut", .unknown) {
            try $0.truncate($0.manifest(.first), to: 100)
            return [$0.manifest(.first)]
        },
        DamageCase("a manifest is empty", .unknown) {
            try $0.write([], $0.manifest(.third))
            return [$0.manifest(.third)]
        },
        DamageCase("the newest manifest is missing", .unknown) {
            try $0.remove($0.manifest(.third))
            return []
        },
        DamageCase("the manifest in the middle is missing", .unknown) {
            try $0.remove($0.manifest(.second))
            return []
        },
        DamageCase("all manifests are missing", .unknown) {
            for moment in SoundRepository.Moment.allCases { try $0.remove($0.manifest(moment)) }
            return []
        },
        DamageCase("two manifests changed places", .unknown) {
            try $0.swap($0.manifest(.first), $0.manifest(.notes))
            return [$0.manifest(.first), $0.manifest(.notes)]
        },
        DamageCase("a manifest lies in the folder of another stack", .unknown) {
            let name = $0.manifest(.notes).replacing("snapshots/notes/", with: "snapshots/files/")
            try $0.rename($0.manifest(.notes), to: name)
            return [name]
        },
        DamageCase("a manifest has the time of another one in its name", .unknown) {
            let name = $0.manifest(.notes).replacing(#/\d{8}T\d{6}Z/#, with: "20200101T000000Z")
            try $0.rename($0.manifest(.notes), to: name)
            return [name]
        },
        DamageCase("a manifest of another repository came here", .unknown) {
            let id = try $0.open().config.repositoryID.hex
            let other = String(decoding: try $0.bytes($0.manifest(.notes)), as: UTF8.self)
                .replacing(id, with: String(id.reversed()))
            return [try $0.addManifest(Array(other.utf8), like: .notes)]
        },
        DamageCase("a manifest with the right digest is no JSON", .unknown) {
            [try $0.addManifest(Array("not JSON\n".utf8), like: .notes)]
        },
        DamageCase("a manifest is of a newer format", .unknown) {
            let newer = String(decoding: try $0.bytes($0.manifest(.notes)), as: UTF8.self)
                .replacing("\"format\" : 1", with: "\"format\" : 2")
            return [try $0.addManifest(Array(newer.utf8), like: .notes)]
        },
        DamageCase("a manifest refers to a content that was never stored", .unknown) {
            let id = try $0.content(nil, in: .notes).id.hex
            let other = String(decoding: try $0.bytes($0.manifest(.notes)), as: UTF8.self)
                .replacing(id, with: String(id.reversed()))
            _ = try $0.addManifest(Array(other.utf8), like: .notes)
            return ["it is in no index"]
        },
        DamageCase("a file that is no manifest lies among the manifests", .unknown) {
            try $0.write(Array("a note\n".utf8), "snapshots/files/README")
            return []
        },
    ]
}

extension DamagedRepository {
    /// Stores a manifest under the name its bytes ask for, beside the one of `moment`.
    func addManifest(_ bytes: [UInt8], like moment: SoundRepository.Moment) throws -> String {
        let old = manifest(moment)
        let name = old.replacing(sound[moment].id.shortHex, with: BLAKE3.hash(bytes).shortHex)
        try write(bytes, name)
        return name
    }
}
