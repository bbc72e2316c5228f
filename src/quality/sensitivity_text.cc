#include "quality/level_sensitivity.h"

namespace infer::quality {

std::string_view sensitivity_text() {
  return "The lighthouse at Carrow Point has three rooms. In the lowest lives Edda, who keeps the lamp; in the middle "
         "one "
         "her brother Tomas mends nets and clocks; the highest holds nothing but the lamp itself and a brass bell that "
         "weighs forty pounds. Edda came there in the spring of the great storm, when the old keeper, Mr. Hale, could "
         "no "
         "longer climb the ninety-two steps.\n\n"
         "Every evening at six she fills the lamp with oil, trims the wick, and writes three numbers in a green book: "
         "the "
         "hour, the wind, and how many ships she can see. On the first of May the book said: six o'clock, west four, "
         "two "
         "ships. On the second of May it said: six o'clock, west six, no ships. On the third she did not write, "
         "because "
         "Tomas had dropped the key of the middle room into the sea, and both of them sat on the stairs until the tide "
         "went out.\n\n"
         "\"Who will fill the lamp when we are old?\" asked Tomas, while they waited.\n"
         "\"Somebody who can count to ninety-two,\" said Edda, \"and who is not afraid of a bell of forty pounds.\"\n\n"
         "When the water was low they found the key between two stones, green with weed. Tomas opened the middle room, "
         "wound the clocks, and went back to his nets. Edda climbed to the lamp. It was long past six, and far out, "
         "beyond "
         "Carrow Point, a ship was waiting for the light. She filled the lamp with oil, trimmed the wick, rang the "
         "brass "
         "bell once, and then wrote in the green book: nine o'clock, west two, one ship.\n\n"
         "Years later, when Mr. Hale was long dead and the steps had been counted by many visitors, a girl from the "
         "village "
         "read the green book from its first page to its last. She asked why there were three numbers on every line "
         "but "
         "one. Edda laughed. \"That,\" she said, \"was the evening of the key. The first number is the hour, the "
         "second the "
         "wind, and the third the ships; but on the third of May we had neither hour nor wind nor ships, only the sea, "
         "my "
         "brother, and the stairs.\" The girl counted the steps on her way down. There were ninety-two.\n";
}

}  // namespace infer::quality
