// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

extension DamageCase {
    /// Damage to an encrypted repository.
    package static let encrypted: [DamageCase] = [
        DamageCase("encrypted: nothing is wrong", .harmless, encrypted: true) { _ in [] },
        DamageCase(
            "encrypted: a byte of a pack is flipped",
            DamageVerdict(
                check: 0, data: 13, scrub: 13, prune: 0, restore: (13, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 0), backedUp: 0, salvage: 3, salvaged: (3, 3, 0))),
            encrypted: true
        ) {
            try $0.flip($0.pack(.first), at: 100_000)
            return [$0.pack(.first)]
        },
        DamageCase(
            "encrypted: a byte of the header of a pack is flipped",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 13), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 13), backedUp: 0, salvage: 3, salvaged: (0, 0, 3))),
            encrypted: true
        ) {
            try $0.flip($0.pack(.notes), at: 60)
            return [$0.pack(.notes)]
        },
        DamageCase(
            "encrypted: a pack is cut to half",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (13, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 0), backedUp: 13, salvage: 3, salvaged: (3, 3, 0))),
            encrypted: true
        ) {
            try $0.truncate($0.pack(.first), to: $0.bytes($0.pack(.first)).count / 2)
            return [$0.pack(.first)]
        },
        DamageCase(
            "encrypted: a pack lost its last byte",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (13, 13, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 13, 0), backedUp: 13, salvage: 3, salvaged: (3, 3, 0))),
            encrypted: true
        ) {
            try $0.truncate($0.pack(.first), to: -1)
            return [$0.pack(.first)]
        },
        DamageCase(
            "encrypted: a pack is missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 13), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 13), backedUp: 0, salvage: 3, salvaged: (0, 0, 3))),
            encrypted: true
        ) {
            try $0.remove($0.pack(.notes))
            return [$0.pack(.notes)]
        },
        DamageCase(
            "encrypted: two packs changed places",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (13, 13, 13), plan: 13, repair: 0,
                after: .whole((0, 0, 0))),
            encrypted: true
        ) {
            try $0.swap($0.pack(.first), $0.pack(.notes))
            return [$0.pack(.first), $0.pack(.notes)]
        },
        DamageCase(
            "encrypted: a byte of an index is flipped",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0))),
            encrypted: true
        ) {
            try $0.flip($0.index(.first))
            return [$0.index(.first).dropLast(4).description]
        },
        DamageCase(
            "encrypted: all indexes are missing",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 0), plan: 13, repair: 0,
                after: .whole((0, 0, 0))),
            encrypted: true
        ) {
            for moment in SoundRepository.Moment.allCases { try $0.remove($0.index(moment)) }
            return []
        },
        DamageCase(
            "encrypted: a manifest is cut",
            DamageVerdict(
                check: 13, data: 13, scrub: 13, prune: 13, restore: (13, 0, 0), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (13, 0, 0), backedUp: 13, salvage: 3, salvaged: (1, 0, 0))),
            encrypted: true
        ) {
            try $0.truncate($0.manifest(.first), to: 300)
            return [$0.manifest(.first).dropLast(4).description]
        },
        DamageCase(
            "encrypted: the objects are there without '.age' in their names",
            DamageVerdict(
                check: 13, data: 13, scrub: 0, prune: 13, restore: (0, 0, 13), plan: 13, repair: 13,
                after: .damaged(
                    13, restore: (0, 0, 13), backedUp: 0, salvage: 3, salvaged: (0, 0, 3))),
            encrypted: true
        ) {
            for name in [$0.pack(.notes), $0.index(.notes)] { try $0.rename(name, to: String(name.dropLast(4))) }
            return []
        },
        DamageCase(
            "encrypted: the key is that of another repository",
            DamageVerdict(
                check: 12, data: 12, scrub: 0, prune: 12, restore: (12, 12, 12), plan: 12, repair: 12,
                after: .damaged(
                    12, restore: (12, 12, 12), backedUp: 12, salvage: 12, salvaged: (12, 12, 12))),
            encrypted: true
        ) {
            try $0.useAnotherIdentity()
            return []
        },
        DamageCase(
            "encrypted: there is no key",
            DamageVerdict(
                check: 12, data: 12, scrub: 0, prune: 12, restore: (12, 12, 12), plan: 12, repair: 12,
                after: .damaged(
                    12, restore: (12, 12, 12), backedUp: 12, salvage: 12, salvaged: (12, 12, 12))),
            encrypted: true
        ) {
            try $0.useNoIdentity()
            return []
        },
    ]
}
