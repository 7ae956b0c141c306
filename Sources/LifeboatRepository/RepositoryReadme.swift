// SPDX-License-Identifier: Apache-2.0

/// `README.txt`: what somebody finds who has the folder and no lifeboat.
package enum RepositoryReadme {
    /// The whole text. Its recipe is run by a test with Debian's tools alone.
    package static let text = """
        This folder is a lifeboat backup repository, format 1. Nothing in it needs lifeboat to be read:
        zstd, tar, b3sum (BLAKE3) and a shell suffice. On Debian: apt install zstd tar b3sum xxd jq

        packs/ab/ab….tar.zst      chunks of data. 'zstd -dc PACK | tar -x' unpacks one; each member is a chunk,
                                  named by the BLAKE3 of its bytes, or patches/BASE/ID.zst: chunk ID as a patch of
                                  chunk BASE. The pack is named by the BLAKE3 of the file.
        index/….idx               where each chunk is; only for speed, everything in it can be had from the packs.
        snapshots/STACK/….json    one backup each: its parts, each with a content id, a depth and a size.
        pins/, forgotten/         which backups are kept for good, and which were removed by rule; JSON.
        config.json               parameters of this repository.
        ….minisig                 a signature of the file beside it; config.json names the keys of those who may sign:
                                  'minisign -Vm FILE -P KEY'

        Do names end in .age? Then the repository is encrypted (apt install age), and you need the age identity of one
        of the recipients in config.json. 'age -d keys/….age > IDENTITY' gives it when it is wrapped with a passphrase.
        First make a readable copy, and use that as REPOSITORY below:

          cp -r REPOSITORY /tmp/readable && cd /tmp/readable
          find packs snapshots -name '*.age' | while read -r f; do age -d -i IDENTITY -o "${f%.age}" "$f"; done

        Content of depth 0 is the chunk of that id. Content of depth 1 is a chunk that holds a list: records of
        36 bytes, 32 bytes id and 4 bytes length (little-endian); the chunks of the list, one after the other, are
        the data. Depth n is a list whose chunks, joined, are a list of depth n-1. Size 0: no chunk, no data.

        A part of kind "tree" is the listing of a folder, text in mtree(5) format, one line a file, with the words
        size=N contents=ID and tags=depth=N,… A part of kind "stream" is one file, such as a PostgreSQL dump.

        To get everything out by hand:

          mkdir /tmp/chunks && cd /tmp/chunks
          for pack in REPOSITORY/packs/*/*.tar.zst; do zstd -dc "$pack" | tar -x; done
          undo() {
            id=$(basename "$1" .zst); bases=$(basename "$(dirname "$1")" | tr + ' ')
            if [ -e "$1" ] && [ ! -e "$id" ] && cat $bases > prefix 2> missing; then
              zstd -dq --patch-from=prefix "$1" -o "$id"
            fi
          }
          for round in $(seq 16); do for patch in patches/*/*.zst; do undo "$patch"; done; done
          b3sum [0-9a-f]* | awk '$1 != $2 {print "damaged:", $2}'

        A patch of a patch needs the round after; most repositories need four. BASE+BASE are two chunks, one after the
        other, as one base.

        To put one content together ('content ID DEPTH > FILE', in the folder of chunks):

          content() {
            if [ "$2" -eq 0 ]; then cat "$1"; return; fi
            content "$1" $(($2 - 1)) | xxd -p -c 36 | cut -c 1-64 | while read -r id; do cat "$id"; done
          }

        To find the parts of a snapshot, the lines of a tree, and one file:

          jq '.components[] | .name as $c | .parts[] | [$c, .name, .kind, .content.id, .content.depth]' SNAPSHOT.json
          content TREE_ID TREE_DEPTH > tree.mtree
          grep -F 'a/file.txt ' tree.mtree
          content FILE_ID FILE_DEPTH > file.txt

        Names in a tree are written with \\ooo (octal) for bytes that are not plain. Files with holes have among their
        tags extents=OFFSET+LENGTH:… in hexadecimal: their content is these ranges, one after the other.

        """
}
