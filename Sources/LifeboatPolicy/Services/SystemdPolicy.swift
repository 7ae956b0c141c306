// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

/// Units of systemd that lifeboat stops, pauses and starts.
package struct SystemdPolicy: Sendable, Equatable {
    /// As systemctl takes them; without a suffix they are services.
    package var units: [String]
    /// Those of the user lifeboat runs as, not the system's.
    package var user: Bool

    package init(units: [String], user: Bool = false) {
        self.units = units
        self.user = user
    }
}

extension PolicyReader {
    mutating func systemd(_ node: LocatedNode, _ path: String) -> SystemdPolicy? {
        guard let fields = fields(node, path, known: ["units", "user"]) else { return nil }
        let user = bool("user", in: fields, default: false)
        guard required("units", in: fields, hint: "Name the units: units: [postgresql, my-api].") != nil,
            let units = words("units", in: fields, "the name of a unit", Self.isUnit)
        else { return nil }
        return SystemdPolicy(units: units, user: user)
    }

    /// systemd.unit(5): letters, digits and `:-_.\@`. Globs are refused: what they mean changes while units stop.
    static func isUnit(_ name: String) -> Bool {
        !name.hasPrefix("-") && name.utf8.count <= 255
            && name.utf8.allSatisfy { byte in
                (97...122).contains(byte) || (65...90).contains(byte) || (48...57).contains(byte)
                    || [58, 45, 95, 46, 92, 64].contains(byte)
            }
    }
}
